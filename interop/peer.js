// A peer of js-libp2p with the rendezvous client of @canvas-js/libp2p-rendezvous, which the
// interop program commands: from a process of Node (node.js) or from a page (page.js).

import { noise } from "@chainsafe/libp2p-noise"
import { yamux } from "@chainsafe/libp2p-yamux"
import { RendezvousClient, rendezvousClient } from "@canvas-js/libp2p-rendezvous/client"
import { identify } from "@libp2p/identify"
import { peerIdFromString } from "@libp2p/peer-id"
import { multiaddr } from "@multiformats/multiaddr"
import { createLibp2p } from "libp2p"

// newPeer returns the commands. Each takes one object and returns one, or throws.
export function newPeer(transports, userAgent) {
  let node
  const discovered = new Set() // peers that the client's own rounds found

  return {
    // start starts the peer. protocol is the ID to speak, "" the client's own; auto is the
    // autoRegister of the client, or null.
    async start({ protocol, listen, announce, auto }) {
      if (protocol !== "") RendezvousClient.protocol = protocol
      const rendezvous = rendezvousClient({ autoRegister: auto ?? undefined })
      node = await createLibp2p({
        addresses: { listen, announce },
        transports,
        connectionEncrypters: [noise()],
        streamMuxers: [yamux()],
        // In browsers, the default gater refuses loopback.
        connectionGater: { denyDialMultiaddr: () => false },
        nodeInfo: { userAgent },
        services: { identify: identify(), rendezvous },
      })
      node.addEventListener("peer:discovery", ({ detail }) => discovered.add(detail.id.toString()))
      return { id: node.peerId.toString(), addrs: node.getMultiaddrs().map(String), protocol: RendezvousClient.protocol }
    },

    // requests makes requests on one stream, one after the other, and returns their results.
    async requests({ point, requests }) {
      const results = await node.services.rendezvous.connect(multiaddr(point), async (stream) => {
        const results = []
        for (const { op, ns, ttl, limit } of requests) {
          results.push(await request(stream, { op, ns, ttl, limit }))
        }
        return results
      })
      return { results }
    },

    // dial connects to a peer at the addresses that discover stored.
    async dial({ peer }) {
      await node.dial(peerIdFromString(peer))
      return {}
    },

    async discovered() {
      return { peers: [...discovered] }
    },

    // connections returns the addresses of the connections to other peers.
    async connections() {
      return { addrs: node.getConnections().map((c) => c.remoteAddr.toString()) }
    },

    async stop() {
      await node?.stop()
      return {}
    },
  }

  async function request(stream, { op, ns, ttl, limit }) {
    switch (op) {
      case "register":
        return await stream.register(ns, { ttl, multiaddrs: node.getMultiaddrs() })
      case "discover":
        return { peers: (await stream.discover(ns, { limit })).map((peer) => ({ id: peer.id.toString() })) }
      case "unregister":
        await stream.unregister(ns)
        return {}
      default:
        throw new Error(`no request ${op}`)
    }
  }
}

// answer runs a command and returns its result or its error, for JSON.
export async function answer(peer, { command, args }) {
  try {
    return { result: await peer[command](args ?? {}) }
  } catch (error) {
    console.error(error)
    return { error: String(error) }
  }
}
