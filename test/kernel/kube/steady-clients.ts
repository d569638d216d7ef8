import { setTimeout as sleep } from 'node:timers/promises';
import { service, slice } from '../../objects.ts';
import { HeldConnections } from '../held-connections.ts';
import { clusterIPs, TARGET_PORT } from '../test-services.ts';
import type { Attached, Pod } from '../traffic/lab-plan.ts';
import { within } from '../traffic/raw-socket.ts';
import { Sockets } from '../traffic/sockets.ts';
import type { Lab, LabNode } from '../traffic/topology.ts';
import { type IpvsLook, openIpvsLook } from './measure-kernel.ts';

/** Their numbers, by which they have their names and ClusterIPs. */
const STEADY = [1, 2, 3];
const FIRST_NUMBER = 50;
const PORT = 80;
const PAUSE_MS = 100;
const ANSWER_MS = 10_000;

/** The Services with the pods that `SteadyClients` are connected to; no test changes them. */
export function steadyObjects(pod: Pod): readonly object[] {
  return STEADY.flatMap((number) => {
    const name = `steady-${number}`;
    const clusterIP = clusterIPs(FIRST_NUMBER + number).IPv4;
    return [
      service({ name, spec: { clusterIP, ports: [{ name: 'http', port: PORT, protocol: 'TCP' }] } }),
      slice({
        service: name,
        name: `${name}-1`,
        ports: [{ name: 'http', port: TARGET_PORT, protocol: 'TCP' }],
        endpoints: [{ address: pod.addresses.IPv4, node: pod.node }],
      }),
    ];
  });
}

/** What became of connections, and of what they lead through, since they were opened. */
export interface SteadyReport {
  /** How often all of them were asked. */
  readonly rounds: number;
  /** Connections without an answer, and virtual servers without their real server, each time it was so. */
  readonly lost: readonly string[];
}

/** Clients whose connections to steady Services exchange data all the time. */
export class SteadyClients implements AsyncDisposable {
  readonly #sockets = new Sockets();
  readonly #held = new HeldConnections();
  readonly #node: LabNode;
  readonly #pod: Pod;
  readonly #look: IpvsLook;
  readonly #lost: string[] = [];
  #rounds = 0;
  #isOver = false;
  readonly #ended: Promise<void>;

  /** From outside, from another pod and from the node itself. The steady Services have to be served. */
  constructor(lab: Lab, node: LabNode, pod: Pod) {
    this.#node = node;
    this.#pod = pod;
    this.#sockets.serve({ ...pod, address: pod.addresses.IPv4, port: TARGET_PORT, protocol: 'TCP' });
    this.#look = within(node.namespace, openIpvsLook);
    const clients: readonly Attached[] = [lab.outside, node, ...node.pods.filter((other) => other !== pod)];
    for (const { name, namespace } of clients) {
      for (const number of STEADY) {
        const destination = clusterIPs(FIRST_NUMBER + number).IPv4;
        const held = { name: `${name} steady-${number}`, namespace, destination, port: PORT };
        this.#held.open({ ...held, protocol: 'TCP' });
      }
    }
    this.#ended = this.#askOn();
  }

  /** So far. */
  report(): SteadyReport {
    return { rounds: this.#rounds, lost: [...this.#lost] };
  }

  /** Waits until all have been asked once more, by a question that begins now. */
  async asked(): Promise<void> {
    const rounds = this.#rounds;
    while (this.#rounds < rounds + 2 && !this.#isOver) await sleep(PAUSE_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.#ended;
    this.#held[Symbol.dispose]();
    this.#sockets[Symbol.dispose]();
    this.#look[Symbol.dispose]();
  }

  async #askOn(): Promise<void> {
    // Servers answer only while an exchange is under way.
    const direct = {
      namespace: this.#node.namespace,
      destination: this.#pod.addresses.IPv4,
      port: TARGET_PORT,
      protocol: 'TCP',
    } as const;
    while (!this.#isOver) {
      const answers = await this.#held.ask(ANSWER_MS, () =>
        this.#sockets.exchange([direct], { timeoutMs: ANSWER_MS }),
      );
      for (const [name, answer] of Object.entries(answers)) {
        if (answer !== this.#pod.name) this.#lost.push(`${name}: ${answer}`);
      }
      for (const number of STEADY) {
        const weights = await this.#look.realServers(clusterIPs(FIRST_NUMBER + number).IPv4, PORT);
        const weight = weights.get(this.#pod.addresses.IPv4);
        if (weight !== 1) this.#lost.push(`steady-${number}: weight ${weight}`);
      }
      this.#rounds += 1;
      await sleep(PAUSE_MS);
    }
  }
}
