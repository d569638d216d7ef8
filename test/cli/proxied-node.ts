import type { IpAddress } from '../../src/model/address.ts';
import type { CliHarness } from './harness.ts';

/** The ClusterIP of the harness's Service, as kube-proxy has it in a set. */
export const CLUSTER_IP = '10.96.0.50,tcp:80';

/** The virtual servers of its node, as `ipvsadm -Sn` prints them. */
export async function tableOf(cli: CliHarness): Promise<string> {
  return (await cli.run('snapshot', '--observed', '-o', 'ipvsadm-save')).out;
}

/** The links of its node. */
export async function linkNamesOf(cli: CliHarness): Promise<readonly string[]> {
  return (await cli.links.links()).map(({ name }) => name);
}

/** The addresses that a link of its node has. */
export async function addressesOn(cli: CliHarness, link: string): Promise<readonly IpAddress[]> {
  const index = (await cli.links.link(link))?.index;
  return (await cli.links.addresses())
    .filter(({ linkIndex }) => linkIndex === index)
    .map(({ address }) => address);
}
