// One raw table, as the limit probe writes it: what SQD can be fastest at.
'use strict'
const { Column, Entity, PrimaryColumn } = require('typeorm')

class ChainLog {
  constructor(fields) {
    Object.assign(this, fields)
  }
}

Entity('chain_log')(ChainLog)
PrimaryColumn({ type: 'varchar' })(ChainLog.prototype, 'id')
Column({ type: 'int4' })(ChainLog.prototype, 'number')
for (const name of ['address', 'topics', 'data', 'transaction']) Column({ type: 'text' })(ChainLog.prototype, name)

module.exports = { ChainLog }
