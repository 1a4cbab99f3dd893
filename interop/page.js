// A peer in a page: the browser's debugger calls interop(command) and awaits the answer.

import { webRTCDirect } from "@libp2p/webrtc"
import { webSockets } from "@libp2p/websockets"
import { webTransport } from "@libp2p/webtransport"
import { answer, newPeer } from "./peer.js"

const peer = newPeer([webSockets(), webTransport(), webRTCDirect()], "interop/page")
globalThis.interop = (command) => answer(peer, command)
