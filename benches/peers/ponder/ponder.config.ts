// One chain and the two contracts; the database is that of DATABASE_URL.
import { createConfig } from 'ponder'
import { info, pool } from './abi'

const startBlock = Number(process.env.START_BLOCK)

export default createConfig({
  database: { kind: 'postgres', connectionString: process.env.DATABASE_URL! },
  chains: { bench: { id: Number(process.env.CHAIN_ID), rpc: process.env.RPC!, pollingInterval: 1_000 } },
  contracts: {
    pool: { abi: pool, chain: 'bench', address: process.env.POOL as `0x${string}`, startBlock },
    info: { abi: info, chain: 'bench', address: process.env.INFO as `0x${string}`, startBlock },
  },
})
