// Code that the programs for Node share. It reads the argument of the program, runs the checks, and
// reports the result of each check. A check is a function with one argument, the server. A check
// returns a text about the result, or throws an error.
import { readFileSync } from "node:fs";

const CHECK_MS = 60_000;
const MARK = "RESULT ";

export function assert(condition, shown) {
  if (!condition) throw new Error(`unexpected: ${JSON.stringify(shown)}`);
}

export const wordsOf = (text) => text.toLowerCase().match(/[\w']+/g) ?? [];

// Returns the samples of a WAV file with a header of 44 bytes.
export const pcmOf = (path) => readFileSync(path).subarray(44);

function within(promise, ms) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no result within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export async function run(checks) {
  const server = JSON.parse(process.argv[2]);
  for (const [feature, check] of checks) {
    let passed = true;
    let detail;
    try {
      detail = String(await within(check(server), CHECK_MS));
    } catch (error) {
      passed = false;
      detail = String(error).slice(0, 1000);
    }
    const name = check.name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
    const report = JSON.stringify({ feature, check: name, passed, detail });
    // The report begins on a new line, because a library may have written an incomplete line.
    await new Promise((done) => process.stdout.write(`\n${MARK}${report}\n`, done));
  }
  process.exit(0);
}
