/** Manifests that can't be read. The message is one line that names the file and, where known, the line. */
export class ManifestError extends Error {
  override readonly name = 'ManifestError';
  readonly file: string;
  /** From 1; null where the file as a whole is meant */
  readonly line: number | null;
  /** From 1 */
  readonly column: number | null;

  /** @param place where in the file, as it is shown after the file's name: `:12:3` or ` items[7]` */
  constructor(
    file: string,
    place: string,
    problem: string,
    position?: ManifestPosition,
    options?: ErrorOptions,
  ) {
    super(`Cannot read ${file}${place}: ${problem}`, options);
    this.file = file;
    this.line = position?.line ?? null;
    this.column = position?.column ?? null;
  }
}

/** A place in a text; both count from 1. */
export interface ManifestPosition {
  readonly line: number;
  readonly column: number | null;
}

/** What is wrong with a text, and where; whoever knows the file makes a {@link ManifestError} of it. */
export class SyntaxProblem extends Error {
  override readonly name = 'SyntaxProblem';
  readonly position: ManifestPosition;

  constructor(problem: string, position: ManifestPosition) {
    super(problem);
    this.position = position;
  }
}
