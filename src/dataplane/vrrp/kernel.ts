import type { InstanceState } from './announcements.ts';
import type { InstanceName } from './rows.ts';

/** Files and the process of a keepalived that is ours alone. */
export interface Keepalived {
  /** Text of the files in our directory, by name; empty without the directory. */
  files(): Promise<ReadonlyMap<string, string>>;
  /** Replaces a file at once. @throws Error with an errno code */
  write(file: string, text: string): Promise<void>;
  /** One that is not there is gone already. */
  remove(file: string): Promise<void>;
  isRunning(): Promise<boolean>;
  /** What keepalived finds wrong with the configuration in the directory, on one line; undefined if it takes it. */
  complaint(): Promise<string | undefined>;
  /** Starts it, in the background, or has it read its configuration anew. @throws Error if it can't be started */
  load(): Promise<void>;
  /** By instance, as far as it has said. */
  states(): ReadonlyMap<InstanceName, InstanceState>;
  /** Until it has ended, and its addresses are gone. */
  stop(): Promise<void>;
}
