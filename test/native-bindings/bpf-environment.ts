import { probeBpf } from '../../native-bindings/bpf-probe.ts';

/** Options of tests that use bpf(2): where they can't they are skipped, with the probe's reason. */
export function needsBpf(): { readonly skip?: true; readonly meta?: { readonly skipReason: string } } {
  const probe = probeBpf();
  return probe.outcome === 'supported' ? {} : { skip: true, meta: { skipReason: probe.reason } };
}
