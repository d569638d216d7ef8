import type { KernelAnswer, LinkChange, LinkKernel } from '../../../src/dataplane/addresses/kernel.ts';
import { ip } from './fixtures.ts';

/** The answer to one change on its own. */
export async function ask(kernel: LinkKernel, change: LinkChange): Promise<KernelAnswer | undefined> {
  return (await kernel.change([change]))[0];
}

/**
 * The answers to one script of changes that meets every refusal we know of.
 * @param name of the dummy that the script makes and deletes
 * @param uplinkName of a link with 192.0.2.10
 */
export async function refusalsOf(
  kernel: LinkKernel,
  name: string,
  uplinkName: string,
): Promise<readonly (readonly (KernelAnswer | undefined)[])[]> {
  const indexOf = async (linkName: string) => (await kernel.link(linkName))?.index ?? -1;
  const none = 9999;
  const uplink = await indexOf(uplinkName);
  const makeLink = { change: 'addDummy', name } as const;
  const made = [await ask(kernel, makeLink), await ask(kernel, makeLink)];
  const link = await indexOf(name);
  const v4 = ip('10.96.0.9');
  const v6 = ip('fd00::9');
  const prefix = '10.97.0.0/16';
  const steps: readonly LinkChange[] = [
    { change: 'setUp', linkIndex: none },
    { change: 'deleteLink', linkIndex: none },
    { change: 'addAddress', linkIndex: none, address: v4 },
    { change: 'addAddress', linkIndex: link, address: v4 },
    { change: 'addAddress', linkIndex: link, address: v4 },
    { change: 'addAddress', linkIndex: uplink, address: v4 },
    { change: 'addAddress', linkIndex: link, address: v6 },
    { change: 'addAddress', linkIndex: link, address: v6 },
    { change: 'deleteAddress', linkIndex: none, address: v4 },
    { change: 'deleteAddress', linkIndex: link, address: v4 },
    { change: 'deleteAddress', linkIndex: link, address: v4 },
    { change: 'deleteAddress', linkIndex: link, address: v6 },
    { change: 'deleteAddress', linkIndex: link, address: v6 },
    { change: 'addRoute', linkIndex: none, prefix, source: null },
    { change: 'addRoute', linkIndex: link, prefix, source: ip('192.0.2.77') },
    { change: 'addRoute', linkIndex: link, prefix, source: ip('192.0.2.10') },
    { change: 'addRoute', linkIndex: link, prefix, source: null },
    { change: 'addRoute', linkIndex: uplink, prefix, source: null },
    { change: 'replaceRoute', linkIndex: link, prefix, source: ip('192.0.2.77') },
    { change: 'replaceRoute', linkIndex: link, prefix, source: null },
    { change: 'deleteRoute', linkIndex: link, prefix },
    { change: 'deleteRoute', linkIndex: link, prefix },
    { change: 'deleteLink', linkIndex: link },
    { change: 'deleteLink', linkIndex: link },
    { change: 'deleteAddress', linkIndex: uplink, address: v4 },
  ];
  return [made, await kernel.change(steps)];
}
