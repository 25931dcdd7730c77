// One raw table, as the other peers have.
import { onchainTable } from 'ponder'

export const chainLog = onchainTable('chain_log', (t) => ({
  id: t.text().primaryKey(),
  number: t.bigint().notNull(),
  address: t.text().notNull(),
  topics: t.text().notNull(),
  data: t.text().notNull(),
  transaction: t.text().notNull(),
}))
