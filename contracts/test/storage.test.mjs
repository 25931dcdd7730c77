// The storage layout of P 1.7, read as an indexer reads it.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { concat, encodeAbiParameters, keccak256, pad, toHex } from 'viem'

import {
  ACTIVE, BURNT, INACTIVE, L2_CHAIN, L2_METIS, METIS, RPB, account, deployL1, nodeKey, startChain,
} from './support.mjs'

const IMPLEMENTATION = '0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc'
const ADMIN = '0xb53127684a568b3173ae13b9f8a6016e243e63b6e8ee1178d6a717850b5d6103'
const RECORD_1 = 0xbb86fbc034f4e382929974bcd8419ed626b0ea647f962d89ba2fb6bd28785ab9n

const chain = await startChain(after)
let l1, one

before(async () => {
  l1 = await deployL1(chain)
  one = await l1.sequencer('one')
  await l1.batch([[one.key.address, 7n]])
})

const word = (value) => typeof value === 'string' ? pad(value.toLowerCase(), { size: 32 }) : toHex(value, { size: 32 })
const keyed = (type, key, index) => keccak256(encodeAbiParameters([{ type }, { type: 'uint256' }], [key, index]))

async function holds(contract, expected) {
  for (const [slot, value] of expected) {
    assert.equal(await chain.slot(contract, slot), word(value), `${contract.name} slot ${slot}`)
  }
}

test('LockingPool keeps its fields where the deployed pool has them', async () => {
  const { number } = await chain.head()
  await holds(l1.pool, [
    [51, 0n],
    [101, l1.deployer],
    [151, 1n],
    [207, l1.info.address],
    [208, 21n * 86_400n],
    [209, RPB],
    [210, l1.mpc],
    [211, 2n],
    [212, number],
    [213, 1n],
    [214, 2n],
    [215, 1n],
  ])
  await chain.aside(async () => {
    await chain.send(l1.deployer, l1.pool, 'setPause', [true])
    await holds(l1.pool, [[51, 1n]])
  })
})

test('the maps of the pool are at 152 to 156', async () => {
  await holds(l1.pool, [
    [keyed('address', one.owner, 152n), 1n],
    [keyed('uint256', 1n, 153n), 20_000n * METIS],
    [keyed('address', one.owner, 154n), one.id],
    [keyed('address', one.key.address, 155n), one.id],
    [keyed('uint8', ACTIVE, 156n), 1n],
  ])
})

test('a record lies in the order of its fields, recipient and status in one word', async () => {
  assert.equal(BigInt(keyed('uint256', 1n, 153n)), RECORD_1)
  await chain.aside(async () => {
    await chain.send(one.owner, l1.pool, 'unlock', [1n, 0], { value: l1.fee() })
    await l1.batch([[one.key.address, 3n]])
    const { deactivationTime } = await l1.record(1n)
    const at = (offset) => RECORD_1 + offset
    await holds(l1.pool, [
      [at(0n), 20_000n * METIS],
      [at(1n), 3n * RPB],
      [at(2n), 1n],
      [at(3n), 1n],
      [at(4n), 2n],
      [at(5n), deactivationTime],
      [at(6n), deactivationTime + 21n * 86_400n],
      [at(7n), 2n],
      [at(8n), one.owner],
      [at(9n), one.key.address],
      // Bytes longer than 31: twice the length and one here, the content at the hash of the slot.
      [at(10n), 129n],
      [at(11n), concat([toHex(INACTIVE, { size: 12 }), one.recipient])],
    ])
    const content = BigInt(keccak256(word(at(10n))))
    const halves = [await chain.slot(l1.pool, content), await chain.slot(l1.pool, content + 1n)]
    assert.equal(concat(halves), one.key.pubkey)
  })
})

test('a rotated signer reads as burnt', async () => {
  await chain.aside(async () => {
    const next = nodeKey('next')
    await chain.send(one.key.address, l1.pool, 'updateSigner', [1n, next.pubkey])
    await holds(l1.pool, [
      [keyed('address', one.key.address, 155n), BURNT],
      [keyed('address', next.address, 155n), 1n],
    ])
  })
})

test('LockingInfo keeps its fields where the deployed one has them', async () => {
  await chain.aside(async () => {
    await chain.send(one.owner, l1.pool, 'withdrawRewards', [1n, 0], { value: l1.fee() })
    await holds(l1.info, [
      [51, l1.deployer],
      [101, l1.bridge.address],
      [102, l1.token.address],
      [103, L2_METIS],
      [104, L2_CHAIN],
      [105, 20_000n * METIS],
      [106, 100_000n * METIS],
      [107, 20_000n * METIS],
      [108, 7n * RPB],
      [109, l1.pool.address],
      [110, account('payer')],
    ])
  })
})

test('both proxies name their implementation and the ProxyAdmin in the slots of ERC-1967', async () => {
  for (const proxy of [l1.pool, l1.info]) {
    await holds(proxy, [[ADMIN, l1.admin.address]])
    const implementation = `0x${(await chain.slot(proxy, IMPLEMENTATION)).slice(26)}`
    assert.notEqual(await chain.rpc('eth_getCode', implementation, 'latest'), '0x')
  }
})
