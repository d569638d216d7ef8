import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { refusal } from '../fakes/socket-programs.ts';
import { FakeSocklbKernel } from '../fakes/socklb-kernel.ts';
import { slice } from '../objects.ts';
import { type CliHarness, NO_SOCKETS } from './harness.ts';
import { A, B, QUIET, RunSetup, SERVICE } from './run-setup.ts';

let setup: RunSetup;
let cli: CliHarness;
beforeEach(() => {
  setup = new RunSetup();
  ({ cli } = setup);
});
afterEach(() => setup[Symbol.asyncDispose]());

const run = () => setup.run();
const said = (text: string) => setup.said(text);

describe('run with sockets', () => {
  it('keeps all else in sync where the maps of sockets can not be opened, and opens them once they can', async () => {
    const kernel = new FakeSocklbKernel();
    cli.socketKernel = kernel;
    kernel.unreadable = refusal('EACCES');
    void run();
    await said('synced: 8 added, 0 changed, 0 deleted (start)\n');
    await said('rejected: socket load balancer: ');
    cli.file('all.json', [SERVICE, slice({ endpoints: [A] })]);
    await said('synced: 0 added, 0 changed, 1 deleted (files changed)\n');
    kernel.unreadable = undefined;
    cli.file('all.json', [SERVICE, slice({ endpoints: [A, B] })]);
    await vi.waitFor(() => expect(kernel.state).toBe('attached'), 10_000);
    expect(kernel.elements('lb_backend').size).toBeGreaterThan(0);
  });

  it('goes on without sockets that it is to balance, says so while it lasts, and looks again by mode', async () => {
    cli.sockets = { ...NO_SOCKETS, mode: 'on', outcome: 'refused', reason: 'there is no bpffs' };
    cli.socketRefusal = { reason: 'there is no bpffs', isPinned: false };
    void run();
    await said(
      'sockets: mode on, all left to IPVS: there is no bpffs; start svcplane again when it is there\n',
    );
    await said('(start)');
    await said('rejected: socket load balancer: there is no bpffs\n');
    cli.sockets = { ...NO_SOCKETS, mode: 'hostOnly', outcome: 'used', cgroup: '/sys/fs/cgroup' };
    cli.socketRefusal = undefined;
    cli.file('config.yaml', `${QUIET}socketLoadBalancer: { mode: hostOnly, cgroup: /other }\n`);
    await said('configuration: socketLoadBalancer.cgroup counts after a restart');
    await said('sockets: mode hostOnly, at /sys/fs/cgroup\n');
  });
});
