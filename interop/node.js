// A peer in a process of Node: commands come as lines of JSON on stdin, answers leave on
// stdout.

import "./polyfill.js"

import { createInterface } from "node:readline"
import { webSockets } from "@libp2p/websockets"
import { answer, newPeer } from "./peer.js"

const peer = newPeer([webSockets()], "interop/node")
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(await answer(peer, JSON.parse(line))) + "\n")
}
await peer.stop()
