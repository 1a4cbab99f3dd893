// Commands to a process of Node come as lines of JSON on stdin, answers leave on stdout.

import { createInterface } from "node:readline"
import { answer } from "./peer.js"

// carryOut carries out the commands until stdin ends, and then the command stop.
export async function carryOut(commands) {
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(JSON.stringify(await answer(commands, JSON.parse(line))) + "\n")
  }
  await commands.stop()
}
