// libsql stands in for better-sqlite3, which would have to be compiled. It returns blobs as
// ArrayBuffers, and the server of @canvas-js/libp2p-rendezvous needs the Buffers of
// better-sqlite3.

import Database from "better-sqlite3"

const { prepare } = Database.prototype

Database.prototype.prepare = function (sql) {
  const statement = prepare.call(this, sql)
  const { iterate } = statement
  statement.iterate = function* (...parameters) {
    for (const row of iterate.apply(this, parameters)) {
      for (const [column, value] of Object.entries(row)) {
        if (value instanceof ArrayBuffer) row[column] = Buffer.from(value)
      }
      yield row
    }
  }
  return statement
}
