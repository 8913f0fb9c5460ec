/** Processes of plugins: how they are run, and how they do. */

/** How the process of a plugin is run, in the mode `'process'`. */
export interface ZoneProcessOptions {
  /**
   * Its environment variables. None of this process's but `LD_LIBRARY_PATH`, `LANG` and `TZ`.
   */
  readonly env?: Readonly<Record<string, string>>;
  /**
   * Where goes what it prints: to where this process prints (`'inherit'`), nowhere, or line by line
   * to the logger, of the level info, or warn for its standard error. `'inherit'`.
   */
  readonly output?: 'inherit' | 'ignore' | 'log';
  /** How long loading and starting the plugin may take, in milliseconds, 1–600,000. 10,000. */
  readonly startTimeoutMs?: number;
  /**
   * How long a call may take, waiting for its turn included, in milliseconds, 1–86,400,000: then it
   * fails with `ERR_TIMED_OUT`, and its process is ended and started anew. Any time.
   */
  readonly callTimeoutMs?: number;
  /** After so many crashes within `crashWindowMs` it is not started again, 1–1,000,000. 3. */
  readonly crashesMax?: number;
  /** 0–86,400,000 milliseconds. 300,000. */
  readonly crashWindowMs?: number;
  /**
   * How long the process looks for another call before it sleeps, in microseconds, 0–10,000; a
   * `callSync()` looks for its result up to four times as long, as the process may have to be
   * woken. 50; 0 on machines with one processor.
   */
  readonly spinMicros?: number;
  /** Shared memory each way for what is small, a power of two, 64 KiB–64 MiB. 256 KiB. */
  readonly ringBytes?: number;
  /** Shared memory each way for what is large, a power of two, 64 KiB–4 GiB. 16 MiB. */
  readonly slabBytes?: number;
  /** What the operating system keeps it from. Nothing. */
  readonly sandbox?: ZoneSandboxOptions;
}

/** What a plugin's process is kept from. A process that breaks a limit crashes. */
export interface ZoneSandboxOptions {
  /** Memory that it may allocate, stacks of its threads included, at least 16 MiB. Any. */
  readonly memoryBytes?: number;
  /** Processor time that it may use in all, in seconds. Any. */
  readonly cpuSeconds?: number;
  /** Files that it may have open at a time, at least 16. As many as this process. */
  readonly files?: number;
  /**
   * What it may not do: execute programs, open sockets, or create, change and remove files, which
   * binding sockets is part of. Each makes `EPERM` of the system calls for it, and of signals to
   * other processes. Nothing.
   */
  readonly deny?: readonly ZoneDenial[];
}

/** What a sandbox can deny. */
export type ZoneDenial = 'exec' | 'network' | 'write';

/** How a plugin's process does. */
export interface ZoneProcess {
  /** Its id; `null` while there is none. */
  readonly pid: number | null;
  /** How often it was started. */
  readonly starts: number;
  /** How often it ended without being asked to. */
  readonly crashes: number;
  /** Calls that were sent once more, as their methods are idempotent. */
  readonly retried: number;
  /** How it ended last, such as `was killed by signal 11 (SIGSEGV)`. */
  readonly lastCrash: string | null;
}
