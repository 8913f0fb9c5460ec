/** The receiving half of a reliable pipe whose program says which messages it is done with. */

import { invalidArgument } from '../errors.js';
import { Inbox } from './inbox.js';
import type { Grade } from './waiter.js';

export class ExplicitInbox extends Inbox {
  override take<T>(grade: Grade<T>): T | null {
    checkGrade(grade);
    return super.take(grade);
  }

  override tryReceive<T>(grade: Grade<T>): T | null {
    checkGrade(grade);
    return super.tryReceive(grade);
  }

  /** Going on says nothing of what came before. */
  override acknowledge(): void {}
}

function checkGrade({ what, acknowledges }: Grade<unknown>): void {
  if (acknowledges === true) return;
  const instead = 'use messages(), receiveMessage(), borrow() or consume()';
  throw invalidArgument(`with ack: 'explicit', ${what} gives nothing to acknowledge: ${instead}`);
}
