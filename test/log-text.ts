/** The message of each line of a daemon's log, a line each; what is no line of it stays as it is. */
export function messagesOf(log: string): string {
  return log.replace(/^\{.*\}$/gm, (line) => String(JSON.parse(line).msg));
}
