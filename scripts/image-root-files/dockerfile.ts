import { DockerfileParser, type Instruction, ModifiableInstruction } from 'dockerfile-ast';

/** What a stage does to its files. Paths are absolute, but for the sources of a copy from the context. */
export type Step =
  | { readonly step: 'run'; readonly command: string; readonly directory: string }
  | {
      readonly step: 'copy';
      /** The stage that has the sources; undefined: the context. */
      readonly from: string | undefined;
      readonly sources: readonly string[];
      readonly target: string;
      /** Files go into the target, under their own names. */
      readonly intoDirectory: boolean;
    };

/** What an engine starts of an image. */
export interface ImageConfig {
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly user: string;
  readonly volumes: readonly string[];
}

/** One FROM with what follows it. */
export interface Stage {
  /** "" if it has none. */
  readonly name: string;
  /** `scratch`, or an image. */
  readonly base: string;
  readonly steps: readonly Step[];
  readonly config: ImageConfig;
}

/** What has been read of a stage so far. */
interface OpenStage {
  readonly name: string;
  readonly base: string;
  readonly steps: Step[];
  directory: string;
  config: ImageConfig;
}

const NO_CONFIG: ImageConfig = { entrypoint: [], cmd: [], env: {}, user: '', volumes: [] };

/**
 * Reads a Dockerfile, as far as ours goes.
 * @throws SyntaxError at what is not understood, for whatever is left out here would be in the image only
 */
export function readStages(text: string): readonly Stage[] {
  const stages: OpenStage[] = [];
  for (const instruction of DockerfileParser.parse(text).getInstructions()) {
    const keyword = instruction.getKeyword();
    const content = contentOf(instruction);
    if (keyword === 'FROM') stages.push(openStage(content));
    else {
      const stage = stages.at(-1);
      if (!stage) throw new SyntaxError(`${keyword} before FROM`);
      readInstruction(stage, keyword, content);
    }
  }
  return stages.map(({ name, base, steps, config }) => ({ name, base, steps, config }));
}

/** With the flags, which the library keeps apart. */
function contentOf(instruction: Instruction): string {
  const flags = instruction instanceof ModifiableInstruction ? instruction.getFlags() : [];
  return [...flags, instruction.getArgumentsContent() ?? ''].join(' ');
}

function openStage(content: string): OpenStage {
  const [, base = '', name = ''] = /^(\S+)(?: AS (\S+))?$/.exec(content) ?? [];
  if (base === '') throw new SyntaxError(`FROM ${content}`);
  return { name, base, steps: [], directory: '/', config: NO_CONFIG };
}

function readInstruction(stage: OpenStage, keyword: string, content: string): void {
  const { config, directory } = stage;
  switch (keyword) {
    case 'RUN':
      if (content.startsWith('--')) throw new SyntaxError(`RUN ${content}`);
      stage.steps.push({ step: 'run', command: content, directory });
      break;
    case 'COPY':
      stage.steps.push(readCopy(content, directory));
      break;
    case 'WORKDIR':
      stage.directory = absolute(content, directory);
      break;
    case 'USER':
      stage.config = { ...config, user: content };
      break;
    case 'ENV':
      stage.config = { ...config, env: { ...config.env, ...readAssignments(content) } };
      break;
    case 'VOLUME':
      stage.config = { ...config, volumes: readStrings(content) };
      break;
    case 'ENTRYPOINT':
      stage.config = { ...config, entrypoint: readStrings(content) };
      break;
    case 'CMD':
      stage.config = { ...config, cmd: readStrings(content) };
      break;
    default:
      throw new SyntaxError(`instruction ${keyword} is not understood`);
  }
}

function readCopy(content: string, directory: string): Step {
  const [, from, paths = ''] = /^(?:--from=(\S+) )?([^-].*)$/.exec(content) ?? [];
  const sources = paths.split(/\s+/);
  const target = sources.pop() ?? '';
  if (sources.length === 0) throw new SyntaxError(`COPY ${content}`);
  const intoDirectory = sources.length > 1 || target.endsWith('/');
  return { step: 'copy', from, sources, target: absolute(target, directory), intoDirectory };
}

function absolute(path: string, directory: string): string {
  return new URL(path, `file://${directory.replace(/\/*$/, '/')}`).pathname;
}

function readAssignments(content: string): Readonly<Record<string, string>> {
  const pairs = content.split(/\s+/).map((pair) => {
    const [, name, value] = /^(\w+)=([^"'$\\]*)$/.exec(pair) ?? [];
    if (name === undefined || value === undefined) throw new SyntaxError(`ENV ${content}`);
    return [name, value] as const;
  });
  return Object.fromEntries(pairs);
}

/** Without a shell, as there may be none. */
function readStrings(content: string): readonly string[] {
  const value: unknown = JSON.parse(content);
  if (Array.isArray(value) && value.every((each): each is string => typeof each === 'string')) return value;
  throw new SyntaxError(`not an array of strings: ${content}`);
}
