/**
 * Performs the steps of the Dockerfile: `node build.ts DIR` in a mount namespace of its own, as root, in the checkout.
 * A stage from an image starts with this machine's files below a layer that is thrown away. DIR/root becomes the files
 * of the last stage, DIR/config.json what an engine would start.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readStages, type Stage, type Step } from './dockerfile.ts';

const [directory = ''] = process.argv.slice(2);
if (directory === '') throw new TypeError('usage: build.ts DIR');

const ignored = readFileSync('.dockerignore', 'utf8').split('\n');
const stages = readStages(readFileSync('Dockerfile', 'utf8'));
const roots = new Map<string, string>();
for (const [number, stage] of stages.entries()) {
  const root = rootOf(stage, join(directory, `stage-${number}`));
  for (const step of stage.steps) perform(step, root, stage);
  roots.set(stage.name, root);
  if (number === stages.length - 1) {
    renameSync(root, join(directory, 'root'));
    writeFileSync(join(directory, 'config.json'), `${JSON.stringify(stage.config, null, 2)}\n`);
  }
}

function rootOf({ base }: Stage, work: string): string {
  const root = join(work, 'root');
  mkdirSync(root, { recursive: true });
  if (base === 'scratch') return root;
  console.log(`image-root: this machine's files stand for ${base}`);
  const [upper, workdir] = [join(work, 'upper'), join(work, 'work')];
  for (const path of [upper, workdir]) mkdirSync(path);
  run('mount', '-t', 'overlay', '-o', `lowerdir=/,upperdir=${upper},workdir=${workdir}`, 'overlay', root);
  for (const name of ['proc', 'sys', 'dev']) run('mount', '--rbind', `/${name}`, join(root, name));
  for (const name of ['tmp', 'run']) run('mount', '-t', 'tmpfs', 'tmpfs', join(root, name));
  return root;
}

function perform(step: Step, root: string, { config }: Stage): void {
  switch (step.step) {
    case 'run': {
      console.log(`image-root: RUN ${step.command}`);
      mkdirSync(join(root, step.directory), { recursive: true });
      const script = `cd ${step.directory} && ${step.command}`;
      // What an engine hands on to a build, proxies and the like, stands in the environment here.
      const env = { ...process.env, ...config.env };
      execFileSync('chroot', [root, '/bin/sh', '-c', script], {
        env,
        stdio: ['ignore', 'inherit', 'inherit'],
      });
      break;
    }
    case 'copy':
      for (const source of step.sources) copy(step, source, root);
      break;
    default:
      step satisfies never;
  }
}

function copy(step: Step & { step: 'copy' }, source: string, root: string): void {
  const from = step.from === undefined ? inContext(source) : join(stageRoot(step.from), source);
  const target = join(root, step.target);
  // Of a directory only what is in it is copied, and a file takes the target's name unless that is a directory.
  const isContent = statSync(from).isDirectory();
  mkdirSync(isContent || step.intoDirectory ? target : dirname(target), { recursive: true });
  run('cp', '-a', isContent ? `${from}/.` : from, target);
}

/** .dockerignore names what an engine sees: everything else is as if it were not there. */
function inContext(source: string): string {
  const isSeen = ignored.some((line) => line.startsWith('!') && `${source}/`.startsWith(`${line.slice(1)}/`));
  if (!isSeen || !existsSync(source)) throw new Error(`COPY ${source}: not in the context of the Dockerfile`);
  return source;
}

function stageRoot(name: string): string {
  const root = roots.get(name);
  if (root === undefined) throw new Error(`COPY --from=${name}: there is no such stage`);
  return root;
}

function run(...[command = '', ...args]: readonly string[]): void {
  execFileSync(command, args, { stdio: 'inherit' });
}
