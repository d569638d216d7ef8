import * as v from 'valibot';
import { unreachable } from '../../model/brand.ts';
import type { Operation, OpOf } from '../dataplane.ts';
import { operationReader } from '../operation-reader.ts';
import { groupOfInstance, type InstanceName, parseInstanceName } from './rows.ts';
import { addressesIn } from './text.ts';

/** Every change this dataplane makes, by name, with its arguments. `config` is text of keepalived.conf(5). */
export interface VrrpOps {
  setMain: { readonly config: string };
  addInstance: { readonly instance: InstanceName; readonly config: string; readonly isAble: boolean };
  setInstance: { readonly instance: InstanceName; readonly config: string; readonly before: string };
  /** Needs no reload: keepalived watches the file. */
  setAbility: { readonly instance: InstanceName; readonly isAble: boolean };
  deleteInstance: { readonly instance: InstanceName };
  deleteMain: Record<never, never>;
  addProcess: Record<never, never>;
  deleteProcess: Record<never, never>;
}

export type VrrpOp = OpOf<VrrpOps>;

export type VrrpChange = { [Name in keyof VrrpOps]: { readonly op: Name } & VrrpOps[Name] }[keyof VrrpOps];

/** Adds what is shown of a change. */
export function operation(change: VrrpChange, reason: string): VrrpOp {
  return { ...change, ...describe(change), reason };
}

function describe(change: VrrpChange): Pick<Operation, 'subject' | 'detail'> {
  switch (change.op) {
    case 'setMain':
    case 'deleteMain':
      return { subject: 'keepalived configuration', detail: '' };
    case 'addProcess':
    case 'deleteProcess':
      return { subject: 'keepalived', detail: '' };
    case 'addInstance':
      return { subject: subjectOf(change.instance), detail: addressesIn(change.config).join(' ') };
    case 'setInstance':
      return { subject: subjectOf(change.instance), detail: difference(change.before, change.config) };
    case 'setAbility':
      return {
        subject: subjectOf(change.instance),
        detail: change.isAble ? 'may hold: no → yes' : 'may hold: yes → no',
      };
    case 'deleteInstance':
      return { subject: subjectOf(change.instance), detail: '' };
    default:
      return unreachable(change);
  }
}

/** `VRRP group 12 IPv4` */
function subjectOf(instance: InstanceName): string {
  const { family, group } = groupOfInstance(instance);
  return `VRRP group ${group} ${family}`;
}

/** Addresses that come and go; without any, the lines that do. */
function difference(before: string, after: string): string {
  const [had, has] = [addressesIn(before), addressesIn(after)];
  const changes = [
    ...has.filter((address) => !had.includes(address)).map((address) => `+${address}`),
    ...had.filter((address) => !has.includes(address)).map((address) => `-${address}`),
  ];
  if (changes.length > 0) return changes.join(' ');
  const lines = before.split('\n');
  return after
    .split('\n')
    .filter((line) => !lines.includes(line))
    .map((line) => line.trim())
    .join(', ');
}

const instance = v.pipe(
  v.string(),
  v.rawTransform<string, InstanceName>(({ dataset, addIssue, NEVER }) => {
    const name = parseInstanceName(dataset.value);
    if (name !== undefined) return name;
    addIssue({ message: `${JSON.stringify(dataset.value)} is no name of an instance` });
    return NEVER;
  }),
);
const shown = { subject: v.string(), detail: v.string(), reason: v.string() };
const config = v.string();

const SCHEMAS = {
  setMain: v.object({ op: v.literal('setMain'), ...shown, config }),
  addInstance: v.object({ op: v.literal('addInstance'), ...shown, instance, config, isAble: v.boolean() }),
  setInstance: v.object({ op: v.literal('setInstance'), ...shown, instance, config, before: v.string() }),
  setAbility: v.object({ op: v.literal('setAbility'), ...shown, instance, isAble: v.boolean() }),
  deleteInstance: v.object({ op: v.literal('deleteInstance'), ...shown, instance }),
  deleteMain: v.object({ op: v.literal('deleteMain'), ...shown }),
  addProcess: v.object({ op: v.literal('addProcess'), ...shown }),
  deleteProcess: v.object({ op: v.literal('deleteProcess'), ...shown }),
} satisfies { [Name in keyof VrrpOps]: unknown };

/** See {@link operationReader}. */
export const parseOp: (value: unknown) => VrrpOp | undefined = operationReader(SCHEMAS);
