// The epochs of L2 (P 2), on a chain that knows nothing later than berlin.

import assert from 'node:assert/strict'
import { after, before, beforeEach, afterEach, test } from 'node:test'
import { maxUint256, toHex } from 'viem'

import { ZERO, account, decodeRefusal, names, startChain } from './support.mjs'

const LENGTH = 20n
const [OWNER, MPC, FIRST, NEXT, OTHER] = ['owner', 'mpc', 'first', 'next', 'other'].map(account)

// Epoch 0 is 100..119; one that begins at 120 + 20 * (n - 1) follows for each n.
const start = (n) => 100n + LENGTH * n
const end = (n) => start(n) + LENGTH - 1n

const chain = await startChain(after, '--hardfork', 'berlin')
let set, admin, snapshot

before(async () => {
  admin = await chain.deploy(OWNER, 'ProxyAdmin')
  set = await chain.deployBehindProxy(OWNER, admin, 'MetisSequencerSet', FIRST, MPC, start(0n), end(0n), LENGTH)
})

beforeEach(async () => {
  snapshot = await chain.rpc('evm_snapshot')
})

afterEach(() => chain.rpc('evm_revert', snapshot))

const commit = (n, signer = NEXT) => chain.send(MPC, set, 'commitEpoch', [n, start(n), end(n), signer])
const recommit = (...args) => chain.send(MPC, set, 'recommitEpoch', args)
const epoch = async (n) => {
  const [number, signer, startBlock, endBlock] = await chain.read(set, 'epochs', n)
  return { number, signer, startBlock, endBlock }
}
/** So that the next transaction, and a call on the pending block, run at this height. */
const nextBlockIs = (height) => chain.mineTo(height - 1n)
const refuses = (reason, functionName, args, from = MPC) => chain.refuses(reason, from, set, functionName, args)

test('it starts with epoch 0, an owner and an MPC', async () => {
  assert.equal(await chain.read(set, 'currentEpochNumber'), 0n)
  assert.equal(await chain.read(set, 'epochLength'), LENGTH)
  assert.equal(await chain.read(set, 'mpcAddress'), MPC)
  assert.equal(await chain.read(set, 'owner'), OWNER)
  const first = { number: 0n, signer: FIRST, startBlock: start(0n), endBlock: end(0n) }
  assert.deepEqual(await epoch(0n), first)
  assert.deepEqual(await chain.read(set, 'currentEpoch'), first)
  assert.deepEqual(await epoch(1n), { number: 0n, signer: ZERO, startBlock: 0n, endBlock: 0n })
  await refuses('Initializable: contract is already initialized', 'initialize', [FIRST, MPC, 1n, 2n, 1n])
})

test('its own proxy logs epoch 0 at deployment', async () => {
  const { number } = await chain.head()
  await chain.deployBehindProxy(OWNER, admin, 'MetisSequencerSet', FIRST, MPC, 5n, 6n, 1n)
  const [log] = await chain.rpc('eth_getLogs', {
    fromBlock: toHex(number + 1n),
    topics: ['0x9030849b7c46dbbea7911d67c5814a2ab19c0704c448defc9b87589447844cc6'],
  })
  chain.at('MetisSequencerSet', log.address)
  assert.deepEqual(chain.decodeLog(log), {
    name: 'MetisSequencerSet.NewEpoch', epochId: 0n, startBlock: 5n, endBlock: 6n, signer: FIRST,
  })
})

test('a first epoch must have a range', async () => {
  for (const [from, to] of [[10n, 10n], [10n, 9n]]) {
    await assert.rejects(
      chain.deployBehindProxy(OWNER, admin, 'MetisSequencerSet', FIRST, MPC, from, to, LENGTH),
      ({ data }) => decodeRefusal([], data) === 'Invalid block range')
  }
})

test('the MPC and the length change by those who may', async () => {
  await refuses('Ownable: caller is not the owner', 'UpdateMpcAddress', [ZERO], MPC)
  await refuses('Invalid new mpc', 'UpdateMpcAddress', [ZERO], OWNER)
  await refuses('Not Mpc or Owner', 'UpdateEpochLength', [0n], OTHER)
  await refuses('Invalid new epoch length', 'UpdateEpochLength', [0n], OWNER)
  await refuses('Invalid new epoch length', 'UpdateEpochLength', [0n], MPC)
  assert.deepEqual(
    await chain.send(OWNER, set, 'UpdateMpcAddress', [OTHER]),
    [{ name: 'MetisSequencerSet.MpcAddressUpdated', newMpcAddress: OTHER }])
  assert.deepEqual(
    await chain.send(OTHER, set, 'UpdateEpochLength', [5n]),
    [{ name: 'MetisSequencerSet.EpochUpdated', newLength: 5n }])
  await chain.send(OWNER, set, 'UpdateEpochLength', [6n])
  assert.equal(await chain.read(set, 'epochLength'), 6n)
})

test('commitEpoch queues the next epoch', async () => {
  const logs = await commit(1n)
  assert.deepEqual(logs, [{
    name: 'MetisSequencerSet.NewEpoch', epochId: 1n, startBlock: start(1n), endBlock: end(1n), signer: NEXT,
  }])
  assert.deepEqual(await epoch(1n), { number: 1n, signer: NEXT, startBlock: start(1n), endBlock: end(1n) })
  assert.equal(await chain.read(set, 'currentEpochNumber'), 1n)
})

test('commitEpoch refuses in this order', async () => {
  await commit(1n)
  // Still free to queue one more: there is no rule for the first two.
  await chain.aside(() => commit(2n))
  await commit(2n)
  await refuses('Not Mpc', 'commitEpoch', [0n, 0n, 0n, ZERO], OWNER)

  // Epoch 1 runs until its last block is behind.
  await nextBlockIs(end(1n))
  await refuses('The last epoch not finished', 'commitEpoch', [0n, 0n, 0n, ZERO])
  await nextBlockIs(end(1n) + 1n)
  await refuses('Invalid new epoch number', 'commitEpoch', [4n, 0n, 0n, ZERO])
  await refuses('Invalid new epoch number', 'commitEpoch', [2n, 0n, 0n, ZERO])
  await refuses('End block must be greater than start block', 'commitEpoch', [3n, 7n, 7n, ZERO])
  await refuses('Mismatch epoch length and block length', 'commitEpoch', [3n, 7n, 7n + LENGTH, ZERO])
  await refuses('Mismatch epoch length and block length', 'commitEpoch', [3n, start(3n), end(3n) - 1n, NEXT])
  await refuses('Start block must be greater than currentEpoch.endBlock by 1', 'commitEpoch',
    [3n, start(3n) + 1n, end(3n) + 1n, ZERO])
  await refuses('Invalid signer', 'commitEpoch', [3n, start(3n), end(3n), ZERO])
  await commit(3n)
})

test('recommit of the current epoch cuts it and creates the next', async () => {
  await commit(1n)
  const height = start(1n) + 5n
  await nextBlockIs(height)
  const logs = await recommit(1n, 2n, height, height + 6n, OTHER)
  assert.deepEqual(logs, [{
    name: 'MetisSequencerSet.ReCommitEpoch', oldEpochId: 1n, newEpochId: 2n, curEpochId: 1n, startBlock: height,
    endBlock: height + 6n, newSigner: OTHER,
  }])
  assert.deepEqual(await epoch(1n), { number: 1n, signer: NEXT, startBlock: start(1n), endBlock: height - 1n })
  assert.deepEqual(await epoch(2n), { number: 2n, signer: OTHER, startBlock: height, endBlock: height + 6n })
  assert.equal(await chain.read(set, 'currentEpochNumber'), 2n)
  assert.equal(await chain.read(set, 'getMetisSequencer', height - 1n), NEXT)
  assert.equal(await chain.read(set, 'getMetisSequencer', height), OTHER)
})

test('recommit of an exhausted current epoch stretches it to the block before', async () => {
  await commit(1n)
  const height = end(1n) + 4n
  await nextBlockIs(height)
  await recommit(1n, 2n, height, height + 1n, OTHER)
  assert.equal((await epoch(1n)).endBlock, height - 1n)
})

test('recommit of the epoch before a queued one cuts it and rewrites the queued one', async () => {
  await commit(1n)
  await commit(2n)
  const height = start(1n) + 3n
  await nextBlockIs(height)
  const logs = await recommit(1n, 2n, height, height + 40n, OTHER)
  assert.deepEqual(names(logs), ['MetisSequencerSet.ReCommitEpoch'])
  assert.equal(logs[0].curEpochId, 2n)
  assert.equal((await epoch(1n)).endBlock, height - 1n)
  assert.deepEqual(await epoch(2n), { number: 2n, signer: OTHER, startBlock: height, endBlock: height + 40n })
  assert.equal(await chain.read(set, 'currentEpochNumber'), 2n)
})

test('recommit at the very start of the queued epoch leaves the finished one alone', async () => {
  await commit(1n)
  await commit(2n)
  await nextBlockIs(start(2n))
  const before = await epoch(1n)
  await recommit(1n, 2n, start(2n), start(2n) + 3n, OTHER)
  assert.deepEqual(await epoch(1n), before)
  assert.equal((await epoch(2n)).signer, OTHER)
})

test('recommitEpoch refuses in this order', async () => {
  await commit(1n)
  const height = start(1n) + 5n
  await nextBlockIs(height)
  await refuses('Not Mpc', 'recommitEpoch', [9n, 9n, 0n, 0n, ZERO], OWNER)
  await refuses('Invalid start block', 'recommitEpoch', [9n, 9n, height - 1n, 0n, ZERO])
  await refuses('Invalid start block', 'recommitEpoch', [9n, 9n, height + 1n, 0n, ZERO])
  await refuses('Invalid signer', 'recommitEpoch', [9n, 9n, height, height, ZERO])
  await refuses('End block must be greater than start block', 'recommitEpoch', [9n, 9n, height, height, OTHER])
  await refuses('Invalid oldEpochId', 'recommitEpoch', [9n, 9n, height, height + 1n, OTHER])
  await refuses('Invalid oldEpochId', 'recommitEpoch', [2n, 2n, height, height + 1n, OTHER])
  await refuses('Invalid newEpochId', 'recommitEpoch', [1n, 1n, height, height + 1n, OTHER])
  // Epoch 0 is the one before, and epoch 1 produces already.
  await refuses('Invalid newEpochId', 'recommitEpoch', [0n, 2n, height, height + 1n, OTHER])
  await refuses('The latest epoch producing', 'recommitEpoch', [0n, 1n, height, height + 1n, OTHER])
})

test('a current epoch that has not begun cannot be cut', async () => {
  await commit(1n)
  await nextBlockIs(start(1n))
  await refuses('Conflict on end block', 'recommitEpoch', [1n, 9n, start(1n), start(1n) + 1n, OTHER])
  await nextBlockIs(start(1n) + 1n)
  await refuses(null, 'recommitEpoch', [1n, 2n, start(1n) + 1n, start(1n) + 2n, OTHER])
})

test('the producer of a block is the signer of its epoch', async () => {
  await commit(1n, NEXT)
  await commit(2n, OTHER)
  const expected = [
    [0n, maxUint256, FIRST],
    [start(0n) - 1n, maxUint256, FIRST],
    [start(0n), 0n, FIRST],
    [end(0n), 0n, FIRST],
    [start(1n), 1n, NEXT],
    [end(1n), 1n, NEXT],
    [start(2n), 2n, OTHER],
    [end(2n), 2n, OTHER],
    [end(2n) + 1n, maxUint256, ZERO],
  ]
  for (const [block, number, signer] of expected) {
    assert.equal(await chain.read(set, 'getEpochByBlock', block), number, `epoch of ${block}`)
    assert.equal(await chain.read(set, 'getMetisSequencer', block), signer, `producer of ${block}`)
  }
})

test('the finalized epoch is the newest that is over', async () => {
  await commit(1n)
  const none = [{ number: 0n, signer: ZERO, startBlock: 0n, endBlock: 0n }, false]
  await chain.mineTo(end(0n))
  assert.deepEqual(await chain.read(set, 'finalizedEpoch'), none)
  assert.equal(await chain.read(set, 'finalizedBlock'), start(0n) - 1n)
  await chain.mineTo(end(0n) + 1n)
  assert.deepEqual(await chain.read(set, 'finalizedEpoch'), [await epoch(0n), true])
  assert.equal(await chain.read(set, 'finalizedBlock'), end(0n))
  await chain.mineTo(end(1n) + 9n)
  assert.deepEqual(await chain.read(set, 'finalizedEpoch'), [await epoch(1n), true])
  assert.equal(await chain.read(set, 'finalizedBlock'), end(1n))
})
