// What js-libp2p uses and the Node of Debian 12 (18) and of others (20) lack.

import { webcrypto } from "node:crypto"

globalThis.crypto ??= webcrypto

globalThis.CustomEvent ??= class extends Event {
  constructor(type, init) {
    super(type, init)
    this.detail = init?.detail ?? null
  }
}

Promise.withResolvers ??= function () {
  const all = {}
  all.promise = new this((resolve, reject) => Object.assign(all, { resolve, reject }))
  return all
}
