import { expect, it } from 'vitest';
import { readPages } from '../docs/pages.ts';
import { compareTranscripts, runSteps, stepsOf } from '../docs/transcript.ts';
import { createNamespace, describeWithIpvs, run, UNLESS_LEFT_OUT } from './probe.ts';

const pages = readPages().filter((page) => stepsOf(page, 'kernel').length > 0);

/** What a namespace inherits from the host, as on a node where nobody has set anything. */
const FRESH_SYSCTLS = [
  'net/ipv4/ip_forward',
  'net/ipv6/conf/all/forwarding',
  'net/ipv4/vs/conntrack',
  'net/ipv4/vs/expire_nodest_conn',
  'net/ipv4/vs/expire_quiescent_template',
].map((name) => `echo 0 >/proc/sys/${name}`);

// `ip netns exec` gives a mount namespace, so the host's /var/lib is not touched.
const FRESH_STATE_DIRECTORY = 'mount -t tmpfs tmpfs /var/lib';

// Each command may start Node, which takes seconds where the processor is emulated.
const TIMEOUT_MS = 400_000;

describeWithIpvs('transcripts that need a kernel', () => {
  it('are in the README', () => {
    expect(pages.map(({ path }) => path)).toContain('README.md');
  });

  it.each(pages)('$path: every command prints what the page says', {
    timeout: TIMEOUT_MS,
    ...UNLESS_LEFT_OUT,
  }, (page) => {
    const steps = stepsOf(page, 'kernel');
    using node = createNamespace('docs');
    run(['ip', '-n', node.name, 'link', 'add', 'eth0', 'type', 'dummy']);
    run(['ip', '-n', node.name, 'address', 'add', '172.30.0.30/24', 'dev', 'eth0']);
    run(['ip', '-n', node.name, 'link', 'set', 'eth0', 'up']);
    const outputs = runSteps(
      steps,
      [...FRESH_SYSCTLS, FRESH_STATE_DIRECTORY],
      ['ip', 'netns', 'exec', node.name],
    );
    const { expected, actual } = compareTranscripts(steps, outputs);
    expect(actual).toEqual(expected);
  });
});
