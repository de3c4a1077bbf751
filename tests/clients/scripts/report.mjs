// One JSON object per line on stdout: what the Rust side waits for and asserts.
export function report(event, fields = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}
