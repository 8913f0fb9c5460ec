/** Child processes of tests: fixtures run by Node, with a deadline, line by line. */

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import './runtime.js';

/** How a child is run. */
export interface ChildOptions {
  /** Options of Node itself. */
  readonly node?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** A program that runs another: Node is that other. */
  readonly through?: string;
  readonly uid?: number;
  /** After this it is killed, and `exited` says so. The machine may be slow: be generous. */
  readonly deadlineMs?: number;
}

/** How a child ended, and what it printed. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly late: boolean;
}

/** A fixture that is running. */
export class Child {
  readonly exited: Promise<Exit>;
  private readonly process: ChildProcess;
  private readonly lines: string[] = [];
  private stderr = '';
  private wake: () => void = () => {};
  private late = false;
  private read = 0;

  constructor(fixture: string, args: readonly string[], options: ChildOptions) {
    const path = fileURLToPath(new URL(`../fixtures/${fixture}`, import.meta.url));
    const command = [process.execPath, ...(options.node ?? []), path, ...args];
    if (options.through !== undefined) command.unshift(options.through);
    const [program = '', ...rest] = command;
    this.process = spawn(program, rest, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, NODE_OPTIONS: '', ...options.env },
      ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
    });
    this.exited = this.watch(options.deadlineMs ?? DEADLINE_MS);
  }

  get pid(): number {
    return this.process.pid as number;
  }

  /** The next line that it prints; rejects if it ends first. */
  async line(): Promise<string> {
    while (this.read >= this.lines.length) {
      if (this.process.exitCode !== null || this.process.signalCode !== null) {
        const { code, signal } = await this.exited;
        if (this.read < this.lines.length) break;
        throw new Error(`the child ended (${code ?? signal}) without a line: ${this.stderr}`);
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
    return this.lines[this.read++] as string;
  }

  /** Writes a line to its standard input. */
  tell(line: string): void {
    this.process.stdin?.write(`${line}\n`);
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.process.kill(signal);
  }

  private async watch(deadlineMs: number): Promise<Exit> {
    const child = this.process;
    const timer = setTimeout(() => {
      this.late = true;
      child.kill('SIGKILL');
    }, deadlineMs);
    // A child that ends while it is told something is not an error of the test.
    child.stdin?.on('error', () => {});
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      this.lines.push(line);
      this.wake();
    });
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    clearTimeout(timer);
    this.wake();
    const { late, stderr } = this;
    return { code, signal, stdout: this.lines.join('\n'), stderr, late };
  }
}

/** Starts a fixture. */
export function start(
  fixture: string,
  args: readonly string[] = [],
  options: ChildOptions = {},
): Child {
  return new Child(fixture, args, options);
}

/** Runs a fixture to its end. */
export function run(
  fixture: string,
  args: readonly string[] = [],
  options: ChildOptions = {},
): Promise<Exit> {
  return start(fixture, args, options).exited;
}

const DEADLINE_MS = 60_000;
