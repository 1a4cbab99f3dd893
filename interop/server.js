// A rendezvous point of js-libp2p with the server of @canvas-js/libp2p-rendezvous, in a
// process of Node. It keeps its registrations in memory.

import "./polyfill.js"
import "./sqlite.js"

import { noise } from "@chainsafe/libp2p-noise"
import { yamux } from "@chainsafe/libp2p-yamux"
import { RendezvousServer, rendezvousServer } from "@canvas-js/libp2p-rendezvous/server"
import { identify } from "@libp2p/identify"
import { webSockets } from "@libp2p/websockets"
import { createLibp2p } from "libp2p"
import { carryOut } from "./stdin.js"

let node

await carryOut({
  // start starts the point. protocol is the ID to speak, "" the server's own.
  async start({ protocol, listen }) {
    if (protocol !== "") RendezvousServer.protocol = protocol
    node = await createLibp2p({
      addresses: { listen },
      transports: [webSockets()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      // All peers are at one address. By default, five of one may connect per second.
      connectionManager: { inboundConnectionThreshold: Infinity },
      nodeInfo: { userAgent: "interop/server" },
      services: { identify: identify(), rendezvous: rendezvousServer() },
    })
    return { id: node.peerId.toString(), addrs: node.getMultiaddrs().map(String), protocol: RendezvousServer.protocol }
  },

  async stop() {
    await node?.stop()
    return {}
  },
})
