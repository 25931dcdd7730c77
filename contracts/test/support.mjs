// A real anvil, and the few verbs the tests speak: deploy, send, read, refusal.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import {
  decodeErrorResult, decodeEventLog, decodeFunctionResult, encodeDeployData, encodeFunctionData, getAddress, keccak256,
  maxUint256, toHex,
} from 'viem'
import { privateKeyToAccount } from 'viem/accounts'

const ANVIL = fileURLToPath(new URL('../node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil', import.meta.url))

export const METIS = 10n ** 18n
export const ZERO = '0x0000000000000000000000000000000000000000'
export const BURNT = maxUint256
export const L2_METIS = '0xDeadDeAddeAddEAddeadDEaDDEAdDeaDDeAD0000'
export const L2_CHAIN = 31338n
export const RPB = 761000000000000n
export const [UNAVAILABLE, INACTIVE, ACTIVE, UNLOCKED] = [0, 1, 2, 3]

/** A repeatable account without ETH: the chain asks no gas price and impersonates everyone. */
export const account = (name) => getAddress(`0x${keccak256(toHex(name)).slice(26)}`)

/** A repeatable node key: its address, and its public key as the contracts want it, 64 bytes. */
export function nodeKey(name) {
  const { address, publicKey } = privateKeyToAccount(keccak256(toHex(name)))
  return { address, pubkey: `0x${publicKey.slice(4)}` }
}

export function artifact(name) {
  return JSON.parse(readFileSync(new URL(`../artifacts/${name}.json`, import.meta.url), 'utf8'))
}

/** Starts an anvil on a free port; it ends with the test file, so call this at the top of one. */
export async function startChain(after, ...options) {
  // anvil writes past states to disk, by default below the home folder, and leaves them there.
  const cache = mkdtempSync(join(tmpdir(), 'anvil-'))
  const child = spawn(ANVIL, [
    '--port', '0', '--accounts', '1', '--auto-impersonate', '--gas-price', '0', '--base-fee', '0',
    '--cache-path', cache, ...options,
  ], { stdio: ['ignore', 'pipe', 'inherit'] })
  const closed = new Promise((resolve) => child.once('close', resolve))
  after(async () => {
    child.kill('SIGKILL')
    await closed
    rmSync(cache, { recursive: true, force: true })
  })
  const lines = createInterface({ input: child.stdout })
  const url = await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => reject(new Error(`anvil ended with ${code} before it listened`)))
    lines.on('line', (line) => {
      const found = /Listening on (\S+)/.exec(line)
      if (found) resolve(`http://${found[1]}`)
    })
  })
  return new Chain(url)
}

class Chain {
  contracts = new Map()

  constructor(url) {
    this.url = url
  }

  async rpc(method, ...params) {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
    const headers = { 'content-type': 'application/json' }
    const answer = await (await fetch(this.url, { method: 'POST', headers, body })).json()
    if (answer.error) throw Object.assign(new Error(`${method}: ${answer.error.message}`), { data: answer.error.data })
    return answer.result
  }

  /** Registers code at an address under a name, so that its logs can be told apart. */
  at(name, address, { abi } = artifact(name)) {
    const contract = { name, address: getAddress(address), abi }
    this.contracts.set(contract.address, contract)
    return contract
  }

  async deploy(from, name, ...args) {
    const { abi, bytecode } = artifact(name)
    const data = args.length > 0 ? encodeDeployData({ abi, bytecode, args }) : bytecode
    const { contractAddress } = await this.transact({ from, data })
    return this.at(name, contractAddress)
  }

  /** A proxy that speaks the ABI of its implementation; the caller of `initialize` is `from`. */
  async deployBehindProxy(from, admin, name, ...args) {
    const implementation = await this.deploy(from, name)
    const data = encodeFunctionData({ abi: implementation.abi, functionName: 'initialize', args })
    const proxy = await this.deploy(from, 'TransparentUpgradeableProxy', implementation.address, admin.address, data)
    return this.at(name, proxy.address, implementation)
  }

  async transact(transaction) {
    // The sync form answers with the receipt; after the plain one the block may still be in the making.
    const request = { gas: toHex(5_000_000), gasPrice: '0x0', ...transaction }
    const receipt = await this.rpc('eth_sendTransactionSync', request)
    if (receipt.status === '0x1') return receipt
    // A receipt has no reason; the same as a call fails with one.
    await this.rpc('eth_call', request, 'latest')
    throw new Error('the transaction reverted, but would not do so again')
  }

  /** Sends a call that must succeed; its logs come back decoded, in order. */
  async send(from, contract, functionName, args = [], { value = 0n } = {}) {
    const reason = await this.refusal(from, contract, functionName, args, { value, block: 'pending' })
    assert.equal(reason, null, `${functionName} was refused`)
    const receipt = await this.transact({
      from, to: contract.address, value: toHex(value), data: encodeFunctionData({ abi: contract.abi, functionName, args }),
    })
    return receipt.logs.map((log) => this.decodeLog(log))
  }

  decodeLog({ address, topics, data }) {
    const emitter = this.contracts.get(getAddress(address))
    assert.ok(emitter, `a log of the unknown ${address}`)
    const { eventName, args } = decodeEventLog({ abi: emitter.abi, topics, data })
    return { name: `${emitter.name}.${eventName}`, ...args }
  }

  async read(contract, functionName, ...args) {
    const data = encodeFunctionData({ abi: contract.abi, functionName, args })
    const result = await this.rpc('eth_call', { to: contract.address, data }, 'latest')
    return decodeFunctionResult({ abi: contract.abi, functionName, data: result })
  }

  /**
   * Why a call is refused, null if it is not: a custom error's name, a revert string or `Panic(17)`. Decoded from
   * `data` alone, since anvil's messages are not reliable. Asked of the next block, as a transaction would be.
   */
  async refusal(from, contract, functionName, args = [], { value = 0n, block = 'pending' } = {}) {
    const data = encodeFunctionData({ abi: contract.abi, functionName, args })
    try {
      await this.rpc('eth_call', { from, to: contract.address, value: toHex(value), gasPrice: '0x0', data }, block)
      return null
    } catch (error) {
      if (error.data === undefined) throw error
      return decodeRefusal(contract.abi, error.data)
    }
  }

  /** Like `refusal`, but the call must be refused with exactly this. */
  async refuses(expected, from, contract, functionName, args = [], options = {}) {
    assert.equal(await this.refusal(from, contract, functionName, args, options), expected, functionName)
  }

  slot(contract, index) {
    return this.rpc('eth_getStorageAt', contract.address, toHex(BigInt(index)), 'latest')
  }

  async balance(address) {
    return BigInt(await this.rpc('eth_getBalance', address, 'latest'))
  }

  async head() {
    const { number, timestamp } = await this.rpc('eth_getBlockByNumber', 'latest', false)
    return { number: BigInt(number), timestamp: BigInt(timestamp) }
  }

  /** Mines until the head has this number. */
  async mineTo(number) {
    const { number: head } = await this.head()
    if (number > head) await this.rpc('anvil_mine', toHex(number - head))
  }

  /** Mines one block at this time; the clock goes on from there. */
  async mineAt(timestamp) {
    await this.rpc('evm_setNextBlockTimestamp', toHex(timestamp))
    await this.rpc('evm_mine')
  }

  /** Runs the act on the present state and forgets what it did. */
  async aside(act) {
    const snapshot = await this.rpc('evm_snapshot')
    try {
      return await act()
    } finally {
      await this.rpc('evm_revert', snapshot)
    }
  }
}

export function decodeRefusal(abi, data) {
  if (data === '0x') return 'no data'
  const { errorName, args = [] } = decodeErrorResult({ abi, data })
  if (errorName === 'Error') return args[0]
  return args.length > 0 ? `${errorName}(${args.join(', ')})` : errorName
}

/** The names of logs alone, to compare their order. */
export const names = (logs) => logs.map(({ name }) => name)

/** One log without its name. */
export function only(logs, name) {
  const found = logs.filter((log) => log.name === name)
  assert.equal(found.length, 1, `${name} once, in ${names(logs).join(', ')}`)
  const { name: _, ...args } = found[0]
  return args
}

/**
 * Deploys L1 as README.md says, and plays its governance and its owners.
 * `dev/` follows the same recipe in Rust; change both together.
 */
export async function deployL1(chain, { pool: variant = 'LockingPool', discount = 10n ** 9n } = {}) {
  const [deployer, payer, mpc] = [account('deployer'), account('payer'), account('mpc')]

  const token = await chain.deploy(deployer, 'MetisToken')
  const addressManager = await chain.deploy(deployer, 'Lib_AddressManager')
  const oracle = await chain.deploy(deployer, 'MVM_DiscountOracle', discount)
  const messenger = await chain.deploy(deployer, 'L1CrossDomainMessenger')
  await chain.send(deployer, addressManager, 'setAddress', ['MVM_DiscountOracle', oracle.address])
  const bridge = await chain.deploy(
    deployer, 'L1StandardBridge', messenger.address, addressManager.address, L2_CHAIN)

  const admin = await chain.deploy(deployer, 'ProxyAdmin')
  const info = await chain.deployBehindProxy(
    deployer, admin, 'LockingInfo', bridge.address, token.address, L2_METIS, L2_CHAIN)
  const pool = await chain.deployBehindProxy(deployer, admin, variant, info.address)
  await chain.send(deployer, info, 'initManager', [pool.address])

  await chain.send(deployer, info, 'setRewardPayer', [payer])
  await chain.send(deployer, token, 'mint', [payer, 1_000_000n * METIS])
  await chain.send(payer, token, 'approve', [info.address, maxUint256])
  await chain.send(deployer, pool, 'updateMpc', [mpc])
  return new L1(chain, { token, addressManager, oracle, messenger, bridge, admin, info, pool, deployer, payer, mpc })
}

class L1 {
  constructor(chain, parts) {
    this.chain = chain
    Object.assign(this, parts)
  }

  /** An owner who may lock: whitelisted, with METIS, ETH for the bridge, and an endless allowance to LockingInfo. */
  async owner(name, { metis = 200_000n * METIS, allowance = maxUint256 } = {}) {
    const owner = account(name)
    await this.chain.send(this.deployer, this.pool, 'setWhitelist', [owner, true])
    await this.chain.send(this.deployer, this.token, 'mint', [owner, metis])
    await this.chain.send(owner, this.token, 'approve', [this.info.address, allowance])
    await this.chain.rpc('anvil_setBalance', owner, toHex(10n ** 18n))
    return owner
  }

  /** An owner with a running sequencer, named for both; the recipient is set unless told otherwise. */
  async sequencer(name, { amount = 20_000n * METIS, recipient = account(`${name} on L2`) } = {}) {
    const owner = await this.owner(name)
    const key = nodeKey(name)
    await this.chain.send(owner, this.pool, 'lockWithRewardRecipient', [key.address, recipient, amount, key.pubkey])
    return { id: await this.chain.read(this.pool, 'totalSequencers'), owner, key, recipient }
  }

  /** The next reward batch: blocks by signer, two epochs long. */
  async batch(blocks) {
    const [id, , , endEpoch] = await this.chain.read(this.pool, 'curBatchState')
    return this.chain.send(this.mpc, this.pool, 'batchSubmitRewards', [
      id + 1n, endEpoch + 1n, endEpoch + 2n, blocks.map(([signer]) => signer), blocks.map(([, count]) => count),
    ])
  }

  async record(id) {
    const values = await this.chain.read(this.pool, 'sequencers', id)
    return Object.fromEntries(RECORD.map((field, i) => [field, values[i]]))
  }

  balance(address) {
    return this.chain.read(this.token, 'balanceOf', address)
  }

  fee(l2Gas = 200_000n, discount = 10n ** 9n) {
    return l2Gas * discount
  }

  /** The invariants of P 1.13; the METIS is exact here because nobody sends tokens to the contracts by hand. */
  async checkInvariants() {
    const count = await this.chain.read(this.pool, 'totalSequencers')
    const records = []
    for (let id = 1n; id <= count; id++) records.push(await this.record(id))
    const sum = (field, wanted = () => true) =>
      records.filter(wanted).reduce((total, record) => total + record[field], 0n)

    const totalLocked = await this.chain.read(this.info, 'totalLocked')
    assert.equal(totalLocked, sum('amount', ({ status }) => status === INACTIVE || status === ACTIVE), 'totalLocked')
    assert.equal(await this.balance(this.info.address), totalLocked + sum('reward'), 'METIS in LockingInfo')
    assert.equal(
      await this.balance(this.bridge.address), await this.chain.read(this.info, 'totalRewardsLiquidated'),
      'METIS in the bridge')
    for (const status of [INACTIVE, ACTIVE, UNLOCKED]) {
      const counted = BigInt(records.filter((record) => record.status === status).length)
      assert.equal(await this.chain.read(this.pool, 'seqStatuses', status), counted, `count of status ${status}`)
    }
  }
}

export const RECORD = [
  'amount', 'reward', 'activationBatch', 'updatedBatch', 'deactivationBatch', 'deactivationTime', 'unlockClaimTime',
  'nonce', 'owner', 'signer', 'pubkey', 'rewardRecipient', 'status',
]
