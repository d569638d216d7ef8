import { Option } from 'commander';
import type { GivenField } from '../kube-proxy/configuration.ts';
import { FLAGS, nameOfFlag } from '../kube-proxy/flags.ts';
import { parseGoBoolean } from '../kube-proxy/values.ts';
import { UsageError } from './context.ts';
import type { GivenOptions } from './settings.ts';

/** Where flags come from, in messages. */
export const COMMAND_LINE = 'the command line and environment';

/** The flags of kube-proxy that are no flags of ours; they are not in the help, which is about ours. */
export function kubeProxyOptions(): Option[] {
  return FLAGS.filter(({ effect }) => effect.kind !== 'own').map((flag) => {
    const option = new Option(flag.flags, 'as of kube-proxy').hideHelp();
    option.attributeName = () => nameOfFlag(flag);
    return option;
  });
}

/** What flags of kube-proxy say. */
export interface GivenFlags {
  readonly fields: readonly GivenField[];
  /** Values of keys of ours. */
  readonly keys: ReadonlyMap<string, GivenField>;
  readonly notes: readonly string[];
}

/**
 * The flags of kube-proxy that were given.
 * @throws UsageError if kube-proxy would not have served
 */
export function givenFlags(given: GivenOptions): GivenFlags {
  const fields: GivenField[] = [];
  const keys = new Map<string, GivenField>();
  const notes: string[] = [];
  for (const flag of FLAGS) {
    const name = nameOfFlag(flag);
    const value = given[name];
    if (value === undefined) continue;
    const { effect } = flag;
    // `-v=2` comes as `=2`.
    const text = typeof value === 'string' ? value.replace(/^=/, '') : value;
    const field = { value: text, isFlag: true, name, place: COMMAND_LINE };
    if (effect.kind === 'field') fields.push({ ...field, path: effect.path });
    else if (effect.kind === 'key') keys.set(effect.key, { ...field, path: effect.key });
    else if (effect.kind === 'none') notes.push(`kube-proxy ${name}: without effect: ${effect.reason}`);
    else if (effect.kind === 'refused' && text !== '' && parseGoBoolean(String(text)) !== false) {
      throw new UsageError(`Cannot run with ${name}: ${effect.reason}`);
    }
  }
  return { fields, keys, notes };
}
