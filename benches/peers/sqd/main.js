// Indexes the logs of the contracts of CONTRACTS from BLOCKS (first-last) of RPC, and ends.
// Settings as in the anchors: RPC mode, capacity 10, batches of 100, hot blocks on, finality 1.
'use strict'
const { EvmBatchProcessor } = require('@subsquid/evm-processor')
const { TypeormDatabase } = require('@subsquid/typeorm-store')
const { ChainLog } = require('./lib/model')

const [from, to] = process.env.BLOCKS.split('-').map(Number)
const processor = new EvmBatchProcessor()
  .setRpcEndpoint({ url: process.env.RPC, capacity: 10, maxBatchCallSize: 100 })
  .setFinalityConfirmation(1)
  .setBlockRange({ from, to })
  .setFields({ log: { address: true, topics: true, data: true, transactionHash: true } })
  .addLog({ address: process.env.CONTRACTS.split(',') })

processor.run(new TypeormDatabase({ supportHotBlocks: true }), async (context) => {
  const rows = context.blocks.flatMap((block) =>
    block.logs.map(
      (log) =>
        new ChainLog({
          id: log.id,
          number: block.header.height,
          address: log.address,
          topics: log.topics.join(','),
          data: log.data,
          transaction: log.transactionHash,
        }),
    ),
  )
  await context.store.insert(rows)
})
