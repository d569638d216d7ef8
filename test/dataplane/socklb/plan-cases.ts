import type { SocklbRows } from '../../../src/dataplane/socklb/rows.ts';
import { SocklbWorld, wantedOf } from './build.ts';

/** What is there, what is wanted, and the plan between them, one `op subject: detail` a line. */
export interface PlanCase {
  readonly name: string;
  /** A kernel, and how it came to be as it is. */
  readonly world: () => Promise<SocklbWorld>;
  readonly wanted: SocklbRows;
  readonly make?: readonly string[];
  readonly break?: readonly string[];
}

const WEB = 'TCP 10.96.0.50:80';
const DNS = 'UDP 10.96.0.10:53';
const [A, B, C] = ['10.244.1.20:8080', '10.244.1.21:8080', '10.244.1.22:8080'];

/** A kernel after each of these was wanted in turn, and what remained was cleared away. */
function after(...histories: readonly (readonly string[])[]): () => Promise<SocklbWorld> {
  return async () => {
    const world = new SocklbWorld();
    for (const lines of histories) await world.settle(wantedOf(lines));
    return world;
  };
}

/** The same, and what the last change has left over is there still. */
function justAfter(ageMs: number, ...histories: readonly (readonly string[])[]): () => Promise<SocklbWorld> {
  return async () => {
    const world = await after(...histories.slice(0, -1))();
    await world.sync(wantedOf(histories.at(-1) ?? []));
    await world.observe();
    world.nowMs += ageMs;
    return world;
  };
}

export const PLAN_CASES: readonly PlanCase[] = [
  {
    name: 'adds frontends, then sets the switch, then attaches the programs that read it',
    world: async () => new SocklbWorld(),
    wanted: wantedOf([`${WEB} random ${A} ${B} weight 2`, `${DNS} maglev affinity 60 ${C}`]),
    make: [
      `addSocketService socket ${DNS}: maglev affinity 60 ${C}`,
      `addSocketService socket ${WEB}: random ${A}, ${B} weight 2`,
      'setSocketMode socket balancer: on → on, UDP 300 s',
      'addSocketPrograms socket programs',
    ],
  },
  {
    name: 'attaches what is missing before it switches on, where some programs read the switch already',
    world: async () => {
      const world = new SocklbWorld();
      await world.settle(wantedOf([`${WEB} random ${A}`]));
      await world.settle(wantedOf([], 'off'));
      world.kernel.state = 'partly';
      return world;
    },
    wanted: wantedOf([`${WEB} random ${A}`]),
    make: [
      `addSocketService socket ${WEB}: random ${A}`,
      'addSocketPrograms socket programs',
      'setSocketMode socket balancer: off → on, UDP 300 s',
    ],
  },
  {
    name: 'changes nothing that is as it should be',
    world: after([`${WEB} random ${A} ${B}`]),
    wanted: wantedOf([`${WEB} random ${B} ${A}`]),
  },
  {
    name: 'leads a frontend to other endpoints, and leaves what it led to for a later plan',
    world: after([`${WEB} random ${A} ${B}`]),
    wanted: wantedOf([`${WEB} random ${B} ${C}`]),
    make: [`setSocketService socket ${WEB}: random ${B}, ${C}`],
  },
  {
    name: 'refuses at a frontend that has lost its last endpoint',
    world: after([`${WEB} random ${A}`]),
    wanted: wantedOf([`${WEB} random`]),
    make: [`setSocketService socket ${WEB}: random refuses`],
  },
  {
    name: 'does not clear away what has been left 49 ms ago',
    world: justAfter(49, [`${WEB} random ${A} ${B}`], [`${WEB} random ${B}`]),
    wanted: wantedOf([`${WEB} random ${B}`]),
  },
  {
    name: 'clears away what has been left 50 ms ago, slots before the backends they name',
    world: justAfter(50, [`${WEB} maglev ${A} ${B}`], [`${WEB} random ${B}`]),
    wanted: wantedOf([`${WEB} random ${B}`]),
    break: [
      'deleteSocketSlots socket slots 1/1: 2 slots',
      'deleteSocketTable socket table 1',
      `deleteSocketBackend socket backend 1: ${A}`,
    ],
  },
  {
    name: 'ends sockets that are connected to UDP endpoints, behind all that is only deleted',
    world: justAfter(
      50,
      [`${DNS} random ${A} ${B}`, `${WEB} random ${A} ${B}`],
      [`${DNS} random ${B}`, `${WEB} random ${B}`],
    ),
    wanted: wantedOf([`${DNS} random ${B}`, `${WEB} random ${B}`]),
    break: [
      'deleteSocketSlots socket slots 1/1: 2 slots',
      'deleteSocketSlots socket slots 2/1: 2 slots',
      `deleteSocketBackend socket backend 3: ${A}`,
      `endSockets sockets of backend 1: ${A}`,
    ],
  },
  {
    name: 'leaves sockets alone where it is switched off, for their endpoints are there still',
    world: async () => {
      const world = await after([`${DNS} random ${A}`])();
      await world.sync(wantedOf([], 'off'));
      await world.observe();
      world.nowMs += 50;
      return world;
    },
    wanted: wantedOf([], 'off'),
    break: ['deleteSocketSlots socket slots 1/1: 1 slots', `deleteSocketBackend socket backend 1: ${A}`],
  },
  {
    name: 'gives an endpoint that comes back its backend back, and keeps the table it needs again',
    world: justAfter(50, [`${WEB} maglev ${A} ${B}`], [`${WEB} random ${B}`]),
    wanted: wantedOf([`${WEB} maglev ${A} ${B}`]),
    make: [`setSocketService socket ${WEB}: maglev ${A}, ${B}`],
    break: ['deleteSocketSlots socket slots 1/1: 2 slots'],
  },
  {
    name: 'keeps an endpoint of weight 0 while it is wanted so',
    world: justAfter(1000, [`${WEB} random ${A} ${B}`], [`${WEB} random ${A} weight 0 ${B}`]),
    wanted: wantedOf([`${WEB} random ${A} weight 0 ${B}`]),
    break: ['deleteSocketSlots socket slots 1/1: 2 slots'],
  },
  {
    name: 'deletes a frontend that is not wanted any more',
    world: after([`${WEB} random ${A}`, `${DNS} random ${C}`]),
    wanted: wantedOf([`${DNS} random ${C}`]),
    break: [`deleteSocketService socket ${WEB}`],
  },
  {
    name: 'switches off before frontends go',
    world: after([`${WEB} random ${A}`]),
    wanted: wantedOf([], 'off'),
    make: ['setSocketMode socket balancer: on → off, UDP 300 s'],
    break: [`deleteSocketService socket ${WEB}`],
  },
  {
    name: 'switches on after frontends have come',
    world: async () => {
      const world = new SocklbWorld();
      await world.settle(wantedOf([`${WEB} random ${A}`]));
      await world.settle(wantedOf([], 'off'));
      return world;
    },
    wanted: wantedOf([`${WEB} random ${A}`], 'hostOnly'),
    make: [
      `addSocketService socket ${WEB}: random ${A}`,
      'setSocketMode socket balancer: off → hostOnly, UDP 300 s',
    ],
  },
  {
    name: 'is off where it never was on without a write',
    world: async () => new SocklbWorld(),
    wanted: wantedOf([], 'off'),
  },
  {
    name: 'attaches programs that somebody has detached',
    world: async () => {
      const world = await after([`${WEB} random ${A}`])();
      world.kernel.state = 'partly';
      return world;
    },
    wanted: wantedOf([`${WEB} random ${A}`]),
    make: ['addSocketPrograms socket programs'],
  },
  {
    name: 'makes a damaged frontend anew, under new ids, and leaves the old elements for a later plan',
    world: async () => {
      const world = await after([`${WEB} random ${A} ${B}`])();
      world.kernel.damage('lb_backend', '01000000');
      return world;
    },
    wanted: wantedOf([`${WEB} random ${A} ${B}`]),
    make: [`setSocketService socket ${WEB}: random ${A}, ${B}`],
  },
  {
    name: 'clears away what no Service can have',
    world: async () => {
      const world = await after([`${WEB} random ${A}`])();
      world.kernel.put('lb_svc', 'ff'.repeat(20), '00'.repeat(24));
      await world.observe();
      world.nowMs += 50;
      return world;
    },
    wanted: wantedOf([`${WEB} random ${A}`]),
    break: [`deleteSocketEntry socket entry ${'ff'.repeat(20)}`],
  },
];

export const TEARDOWN_CASES: readonly PlanCase[] = [
  {
    name: 'takes away the programs with all maps',
    world: after([`${WEB} random ${A}`]),
    wanted: wantedOf([]),
    break: ['deleteSocketPrograms socket programs: and their maps, with 1 frontends'],
  },
  { name: 'does nothing where nothing is', world: async () => new SocklbWorld(), wanted: wantedOf([]) },
];
