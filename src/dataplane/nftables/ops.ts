import { unreachable } from '../../model/brand.ts';
import type { Operation, OpOf } from '../dataplane.ts';
import type { ElementRow } from './rows.ts';
import { elementText } from './rows.ts';
import type { ChainName, RulesetOptions } from './rules.ts';
import type { SetName } from './sets.ts';

/**
 * Every change this dataplane makes, by name, with its arguments. `table` is the name of our table of family inet.
 * Rules follow from the ruleset's options, so that an operation of a saved plan can hold no others.
 */
export interface NftablesOps {
  /** With its chains, their rules, and its sets, which are empty. */
  addTable: { readonly table: string; readonly ruleset: RulesetOptions };
  /** As addTable, in the place of what there is: all that was in the table goes. */
  setTable: { readonly table: string; readonly ruleset: RulesetOptions };
  /** Its rules, in the place of those it has. */
  setChain: { readonly table: string; readonly chain: ChainName; readonly ruleset: RulesetOptions };
  addElement: {
    readonly table: string;
    readonly set: SetName;
    readonly key: string;
    readonly mark: number | null;
  };
  /** What a map gives for the key. */
  setElement: { readonly table: string; readonly set: SetName; readonly key: string; readonly mark: number };
  deleteElement: { readonly table: string; readonly set: SetName; readonly key: string };
  deleteTable: { readonly table: string };
}

export type NftablesOp = OpOf<NftablesOps>;

/** The operation of one name. */
export type NftablesOpNamed<Name extends keyof NftablesOps> = Extract<NftablesOp, { readonly op: Name }>;

/** An operation's name with its arguments: all that decides what it does. */
export type NftablesChange = {
  [Name in keyof NftablesOps]: { readonly op: Name } & NftablesOps[Name];
}[keyof NftablesOps];

/** Adds what is shown of a change: its subject is the one thing it changes, no part of anything. */
export function operation(change: NftablesChange, reason: string, detail = ''): NftablesOp {
  return { ...change, subject: subjectOf(change), detail, reason };
}

/** `nft masquerade4 203.0.113.9 . tcp . 80`, as a snapshot has it. */
export function elementSubject(set: string, key: string, mark: ElementRow['mark']): string {
  return `nft ${set} ${elementText(key, { mark })}`;
}

function subjectOf(change: NftablesChange): Operation['subject'] {
  switch (change.op) {
    case 'addTable':
    case 'setTable':
    case 'deleteTable':
      return `nft table inet ${change.table}`;
    case 'setChain':
      return `nft chain inet ${change.table} ${change.chain}`;
    case 'addElement':
      return elementSubject(change.set, change.key, change.mark);
    case 'setElement':
    case 'deleteElement':
      return elementSubject(change.set, change.key, null);
    default:
      return unreachable(change);
  }
}
