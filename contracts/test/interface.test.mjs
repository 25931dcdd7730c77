// The compiled ABIs against the recorded selectors and topics, and the golden vectors of P 1.12.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import {
  concat, encodeErrorResult, encodeFunctionData, keccak256, parseAbiItem, size, toEventSelector, toFunctionSelector, toHex,
} from 'viem'
import { publicKeyToAddress } from 'viem/accounts'
import { formatAbiItem } from 'viem/utils'

import { METIS, artifact } from './support.mjs'

const KEY_0 = '0x2e1a3735f93ddbad4f697dc576e37b159f31f344808bff2a18269b228fc83663cfb66da6462fd258b5ef09d4a532a41ef96d0d589f1e0401317c21534c0239ad'
const KEY_1 = '0x4d5e02936a222d68b5d423e566828d8c67ca2290cf428254c44c7be458b33decec1fe85d900756811366e2d19baeb2fe81b46ce10c1863e00d811e68a4e76c9f'
const K1 = '0xEcA7Ae7dE0d1978DF299a547Ee66c4503fBa474D'

/** What the pinned interface allows beside the table: Ownable's own, which P 2.2 does not list for the L2 set. */
const UNLISTED = {
  MetisSequencerSet: [
    'function renounceOwnership()', 'function transferOwnership(address)', 'event Initialized(uint8)',
    'event OwnershipTransferred(address,address)',
  ],
  LockingPool: [
    'event Initialized(uint8)', 'event OwnershipTransferred(address,address)',
  ],
  LockingInfo: [],
}

function table() {
  const rows = []
  let contract
  for (const line of readFileSync(new URL('interface.txt', import.meta.url), 'utf8').split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const heading = /^\[(\w+)\]/.exec(line)
    if (heading) {
      contract = heading[1]
    } else {
      const [selector] = line.split(' ', 1)
      rows.push({ contract, selector, item: parseAbiItem(line.slice(selector.length + 1)) })
    }
  }
  return rows
}

const selectorOf = (item) => item.type === 'event' ? toEventSelector(item) : toFunctionSelector(formatAbiItem(item))
const signature = (item) => `${item.type} ${formatAbiItem(item)}`

/** What a caller can notice of an item, without the names. */
const shape = ({ type, inputs = [], outputs = [], stateMutability }) => ({
  type,
  stateMutability,
  inputs: inputs.map((input) => [typeOf(input), input.indexed ?? false]),
  outputs: outputs.map(typeOf),
})

function typeOf({ type, components }) {
  return components ? `${type}(${components.map(typeOf)})` : type
}

test('every listed function, event and error is in the compiled ABI with its recorded selector', () => {
  const rows = table()
  assert.equal(rows.length, 130)
  for (const { contract, selector, item } of rows) {
    const found = artifact(contract).abi.find((candidate) => candidate.type === item.type && candidate.name === item.name)
    assert.ok(found, `${contract} has no ${signature(item)}`)
    assert.equal(selectorOf(found), selector, `${contract} ${signature(item)}`)
    assert.deepEqual(shape(found), shape(item), `${contract} ${signature(item)}`)
  }
})

test('the pool, the escrow and the sequencer set offer nothing beyond the list', () => {
  const rows = table()
  for (const [contract, unlisted] of Object.entries(UNLISTED)) {
    const listed = new Set(rows.filter((row) => row.contract === contract).map(({ item }) => signature(item)))
    const extra = artifact(contract).abi
      .filter(({ type }) => type !== 'constructor')
      .map(signature)
      .filter((text) => !listed.has(text) && !unlisted.includes(text))
    assert.deepEqual(extra, [], contract)
  }
})

test('the mainnet variant has the same ABI', () => {
  const callable = (name) => artifact(name).abi.filter(({ type }) => type !== 'constructor')
  assert.deepEqual(callable('LockingPoolMainnet'), callable('LockingPool'))
})

test('golden vectors: a signer address is the hash of its 64-byte key', () => {
  assert.equal(publicKeyToAddress(concat(['0x04', KEY_0])), '0xBF578472333179247657a6023D7418D6Dc792Ef3')
  assert.equal(publicKeyToAddress(concat(['0x04', KEY_1])), K1)
})

test('golden vectors: calldata of the pool', () => {
  const { abi } = artifact('LockingPool')
  const encode = (functionName, ...args) => encodeFunctionData({ abi, functionName, args })

  const lock = encode('lockFor', K1, 20_000n * METIS, KEY_1)
  assert.equal(size(lock), 196)
  assert.equal(keccak256(lock), '0x0d6bf38acbc79bec9c6235fcf56a45f01bbbfaf2f6f5e0b8c87530d0a4a362be')

  const claim = encode('withdrawRewards', 1n, 200_000)
  assert.equal(size(claim), 68)
  assert.equal(claim, concat(['0x17396687', toHex(1, { size: 32 }), toHex(0x30d40, { size: 32 })]))

  const signers = [K1, '0xa233Cc81fC6C12e3318eA71EC5D7bBA78C706b04']
  const batch = encode('batchSubmitRewards', 2n, 1n, 5n, signers, [1000n, 4000n])
  assert.equal(size(batch), 356)
  assert.equal(keccak256(batch), '0x45c88a8d416c8f1090496ebf5db2a1458951826cbcc06eeef74aa5a8cceace38')
})

test('golden vectors: the payload of a revert string', () => {
  const abi = [parseAbiItem('error Error(string)')]
  assert.equal(
    encodeErrorResult({ abi, errorName: 'Error', args: ['invalid amount'] }),
    concat([
      '0x08c379a0', toHex(0x20, { size: 32 }), toHex(0x0e, { size: 32 }),
      `${toHex('invalid amount')}${'00'.repeat(18)}`,
    ]))
})
