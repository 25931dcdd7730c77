// Every event of both contracts becomes a row.
import { ponder } from 'ponder:registry'
import { chainLog } from 'ponder:schema'
import { info, pool } from '../abi'

const insert = async ({ event, context }: any) => {
  await context.db.insert(chainLog).values({
    id: `${event.block.number}-${event.log.logIndex}`,
    number: event.block.number,
    address: event.log.address,
    topics: event.log.topics.join(','),
    data: event.log.data,
    transaction: event.transaction.hash,
  })
}

for (const [contract, abi] of Object.entries({ pool, info })) {
  for (const item of abi) ponder.on(`${contract}:${item.name}` as any, insert)
}
