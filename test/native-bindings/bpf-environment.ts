import { probeBpf } from '../../native-bindings/bpf-probe.ts';

/** Why bpf(2) cannot be used here, in one line; undefined if it can. */
export function whyNoBpf(): string | undefined {
  const probe = probeBpf();
  return probe.outcome === 'supported' ? undefined : probe.reason;
}

/** Options of tests that use bpf(2): where they can't they are skipped, with the probe's reason. */
export function needsBpf(): { readonly skip?: true; readonly meta?: { readonly skipReason: string } } {
  const skipReason = whyNoBpf();
  return skipReason === undefined ? {} : { skip: true, meta: { skipReason } };
}
