// A peer in a process of Node.

import "./polyfill.js"

import { webSockets } from "@libp2p/websockets"
import { newPeer } from "./peer.js"
import { carryOut } from "./stdin.js"

await carryOut(newPeer([webSockets()], "interop/node"))
