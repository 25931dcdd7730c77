// Every refusal of P 1.9, reached against a real chain. Where a row could fail for several reasons at once, the
// first check must win: clients tell refusals apart by it.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { encodeErrorResult, maxUint256, parseAbiItem, toHex } from 'viem'

import { METIS, ZERO, account, artifact, decodeRefusal, deployL1, nodeKey, startChain } from './support.mjs'

const MIN = 20_000n * METIS
const MAX = 100_000n * METIS
const SHORT_KEY = `0x${'11'.repeat(63)}`
const LONG_KEY = `0x${'11'.repeat(65)}`
const OUTSIDER = account('outsider')
const FRESH = nodeKey('fresh')
const UNKNOWN = 99n

const chain = await startChain(after)
let l1, pool, info, token
/** Free to do everything; locked in this batch; on its way out; gone. */
let running, throttled, exiting, exited
/** Whitelisted and rich; whitelisted without allowance; whitelisted without METIS. */
let stranger, unwilling, poor

before(async () => {
  l1 = await deployL1(chain)
  ;({ pool, info, token } = l1)

  running = await l1.sequencer('running', { amount: 50_000n * METIS })
  exited = await l1.sequencer('exited')
  await chain.send(exited.owner, pool, 'unlock', [exited.id, 0])
  const { unlockClaimTime } = await l1.record(exited.id)
  await chain.mineAt(unlockClaimTime)
  await chain.send(exited.owner, pool, 'unlockClaim', [exited.id, 0])

  await l1.batch([[running.key.address, 1000n]])
  throttled = await l1.sequencer('throttled', { recipient: ZERO })
  exiting = await l1.sequencer('exiting')
  await chain.send(exiting.owner, pool, 'unlock', [exiting.id, 0])

  stranger = await l1.owner('stranger')
  unwilling = await l1.owner('unwilling', { metis: 0n, allowance: 0n })
  poor = await l1.owner('poor', { metis: 0n })
})

/** Rows of `[reason, from, arguments, value]` for one function. */
async function refused(contract, functionName, rows) {
  for (const [reason, from, args, value = 0n] of rows) {
    await chain.refuses(reason, from, contract, functionName, args, { value })
  }
}

const whilePaused = (act) => chain.aside(async () => {
  await chain.send(l1.deployer, pool, 'setPause', [true])
  await act()
})

test('lockFor and lockWithRewardRecipient', async () => {
  const cases = (signer, amount, pubkey) => [
    ['lockFor', [signer, amount, pubkey]],
    ['lockWithRewardRecipient', [signer, account('recipient'), amount, pubkey]],
  ]
  const rows = [
    ['NotWhitelisted', OUTSIDER, FRESH.address, 0n, SHORT_KEY],
    ['invalid pubkey', running.owner, FRESH.address, 0n, SHORT_KEY],
    ['invalid pubkey', running.owner, FRESH.address, 0n, LONG_KEY],
    ['invalid pubkey', running.owner, FRESH.address, 0n, '0x'],
    ['pubkey and address mismatch', running.owner, running.key.address, 0n, FRESH.pubkey],
    ['OwnedSequencer', running.owner, running.key.address, 0n, running.key.pubkey],
    ['SignerExisted', unwilling, running.key.address, 0n, running.key.pubkey],
    ['SignerExisted', stranger, exited.key.address, MIN, exited.key.pubkey],
    ['invalid amount', unwilling, FRESH.address, MIN - 1n, FRESH.pubkey],
    ['invalid amount', unwilling, FRESH.address, MAX + 1n, FRESH.pubkey],
    ['ERC20: insufficient allowance', unwilling, FRESH.address, MIN, FRESH.pubkey],
    ['ERC20: transfer amount exceeds balance', poor, FRESH.address, MIN, FRESH.pubkey],
    [null, stranger, FRESH.address, MIN, FRESH.pubkey],
    [null, stranger, FRESH.address, MAX, FRESH.pubkey],
  ]
  for (const [reason, from, ...args] of rows) {
    for (const [functionName, given] of cases(...args)) await chain.refuses(reason, from, pool, functionName, given)
  }
  await whilePaused(async () => {
    for (const [functionName, given] of cases(FRESH.address, 0n, SHORT_KEY)) {
      await chain.refuses('Pausable: paused', OUTSIDER, pool, functionName, given)
    }
  })
})

test('relock', async () => {
  await refused(pool, 'relock', [
    ['NotWhitelisted', OUTSIDER, [UNKNOWN, 0n, false]],
    ['SeqNotActive', stranger, [UNKNOWN, 0n, false]],
    ['SeqNotActive', stranger, [exiting.id, 0n, false]],
    ['SeqNotActive', exited.owner, [exited.id, MIN, false]],
    ['NotSeqOwner', stranger, [running.id, MAX, false]],
    ['locked>maxLock', running.owner, [running.id, 50_000n * METIS + 1n, false]],
    ['locked>maxLock', running.owner, [running.id, 50_000n * METIS, true]],
    ['No new locked added', running.owner, [running.id, 0n, false]],
    ['Panic(17)', running.owner, [running.id, maxUint256, false]],
    [null, running.owner, [running.id, 0n, true]],
    [null, running.owner, [running.id, 50_000n * METIS, false]],
  ])
  await chain.aside(async () => {
    await chain.send(l1.deployer, info, 'setMaxLock', [MIN])
    await chain.refuses('locked>maxLock', running.owner, pool, 'relock', [running.id, 0n, false])
    await chain.send(l1.deployer, info, 'setMaxLock', [MAX])
    await chain.send(running.owner, token, 'approve', [info.address, 0n])
    await chain.refuses('ERC20: insufficient allowance', running.owner, pool, 'relock', [running.id, 1n, false])
  })
  await whilePaused(() => chain.refuses('Pausable: paused', OUTSIDER, pool, 'relock', [UNKNOWN, 0n, false]))
})

test('withdraw', async () => {
  await refused(pool, 'withdraw', [
    ['NotWhitelisted', OUTSIDER, [UNKNOWN, 0n]],
    ['SeqNotActive', stranger, [UNKNOWN, 0n]],
    ['NotSeqOwner', stranger, [throttled.id, MAX]],
    ['withdraw throttle', throttled.owner, [throttled.id, MAX]],
    ['Panic(17)', running.owner, [running.id, 50_000n * METIS + 1n]],
    ['invalid amount', running.owner, [running.id, 0n]],
    ['invalid amount', running.owner, [running.id, 30_000n * METIS + 1n]],
    ['invalid amount', running.owner, [running.id, 50_000n * METIS]],
    [null, running.owner, [running.id, 30_000n * METIS]],
  ])
  await whilePaused(() => chain.refuses('Pausable: paused', OUTSIDER, pool, 'withdraw', [UNKNOWN, 0n]))
})

test('withdrawRewards', async () => {
  const fee = l1.fee()
  await refused(pool, 'withdrawRewards', [
    ['NotWhitelisted', OUTSIDER, [UNKNOWN, 0]],
    ['SeqNotActive', stranger, [UNKNOWN, 0]],
    ['NotSeqOwner', stranger, [throttled.id, 0]],
    ['NoRewardRecipient', throttled.owner, [throttled.id, 0]],
    [`insufficient fee supplied. send at least ${fee}`, running.owner, [running.id, 0]],
    [`insufficient fee supplied. send at least ${fee}`, running.owner, [running.id, 200_000], fee - 1n],
    [`insufficient fee supplied. send at least ${fee + 10n ** 9n}`, running.owner, [running.id, 200_001], fee],
    [null, running.owner, [running.id, 0], fee],
    [null, running.owner, [running.id, 200_000], fee],
  ])
  await whilePaused(() => chain.refuses('Pausable: paused', OUTSIDER, pool, 'withdrawRewards', [UNKNOWN, 0]))
})

test('unlock', async () => {
  await refused(pool, 'unlock', [
    ['NotWhitelisted', OUTSIDER, [UNKNOWN, 0]],
    ['SeqNotActive', stranger, [UNKNOWN, 0]],
    ['SeqNotActive', exiting.owner, [exiting.id, 0]],
    ['NotSeqOwner', stranger, [throttled.id, 0]],
    ['NoRewardRecipient', throttled.owner, [throttled.id, 0]],
    [`insufficient fee supplied. send at least ${l1.fee()}`, running.owner, [running.id, 0]],
    [null, running.owner, [running.id, 0], l1.fee()],
  ])
  await whilePaused(() => chain.refuses('Pausable: paused', OUTSIDER, pool, 'unlock', [UNKNOWN, 0]))
})

test('forceUnlock, which looks neither at pause nor at the whitelist', async () => {
  const rows = [
    ['Ownable: caller is not the owner', running.owner, [UNKNOWN, 0]],
    ['SeqNotActive', l1.deployer, [UNKNOWN, 0]],
    ['SeqNotActive', l1.deployer, [exiting.id, 0]],
    ['NoRewardRecipient', l1.deployer, [throttled.id, 0]],
    [`insufficient fee supplied. send at least ${l1.fee()}`, l1.deployer, [running.id, 0]],
  ]
  await refused(pool, 'forceUnlock', rows)
  await whilePaused(() => refused(pool, 'forceUnlock', rows))
})

test('unlockClaim', async () => {
  await refused(pool, 'unlockClaim', [
    ['NotWhitelisted', OUTSIDER, [UNKNOWN, 0]],
    ['NotSeqOwner', stranger, [UNKNOWN, 0]],
    ['NotSeqOwner', stranger, [running.id, 0]],
    ['NoRewardRecipient', throttled.owner, [throttled.id, 0]],
    ['Not allowed to cliam', running.owner, [running.id, 0]],
    ['Not allowed to cliam', exiting.owner, [exiting.id, 0]],
    ['Not allowed to cliam', exited.owner, [exited.id, 0]],
  ])
  await whilePaused(() => chain.refuses('Pausable: paused', OUTSIDER, pool, 'unlockClaim', [UNKNOWN, 0]))
})

test('unlockClaim opens at unlockClaimTime exactly', async () => {
  await chain.aside(async () => {
    const { unlockClaimTime } = await l1.record(exiting.id)
    const latest = { block: 'latest' }
    await chain.mineAt(unlockClaimTime - 1n)
    await chain.refuses('Not allowed to cliam', exiting.owner, pool, 'unlockClaim', [exiting.id, 0], latest)
    await chain.mineAt(unlockClaimTime)
    await chain.refuses(null, exiting.owner, pool, 'unlockClaim', [exiting.id, 0], latest)
  })
})

test('updateSigner, open to a signer nobody whitelisted', async () => {
  await refused(pool, 'updateSigner', [
    ['SeqNotActive', OUTSIDER, [UNKNOWN, SHORT_KEY]],
    ['SeqNotActive', exiting.key.address, [exiting.id, FRESH.pubkey]],
    ['NotSeqSigner', throttled.owner, [throttled.id, SHORT_KEY]],
    ['signer updating throttle', throttled.key.address, [throttled.id, SHORT_KEY]],
    ['invalid pubkey', running.key.address, [running.id, SHORT_KEY]],
    ['SignerExisted', running.key.address, [running.id, running.key.pubkey]],
    ['SignerExisted', running.key.address, [running.id, exited.key.pubkey]],
    [null, running.key.address, [running.id, FRESH.pubkey]],
  ])
  await chain.aside(async () => {
    await chain.send(l1.deployer, pool, 'setSignerUpdateThrottle', [0n])
    await chain.refuses(null, throttled.key.address, pool, 'updateSigner', [throttled.id, FRESH.pubkey])
    await chain.send(l1.deployer, pool, 'setSignerUpdateThrottle', [maxUint256])
    await chain.refuses('Panic(17)', running.key.address, pool, 'updateSigner', [running.id, FRESH.pubkey])
  })
  await whilePaused(() => chain.refuses('Pausable: paused', OUTSIDER, pool, 'updateSigner', [UNKNOWN, SHORT_KEY]))
})

test('setSequencerRewardRecipient, also while paused', async () => {
  const rows = [
    ['NotWhitelisted', OUTSIDER, [UNKNOWN, ZERO]],
    ['SeqNotActive', stranger, [UNKNOWN, ZERO]],
    ['SeqNotActive', exiting.owner, [exiting.id, OUTSIDER]],
    ['NotSeqOwner', stranger, [running.id, ZERO]],
    ['NullAddress', running.owner, [running.id, ZERO]],
    [null, running.owner, [running.id, OUTSIDER]],
  ]
  await refused(pool, 'setSequencerRewardRecipient', rows)
  await whilePaused(() => refused(pool, 'setSequencerRewardRecipient', rows))
})

test('setSequencerOwner, also while paused and by an owner who left the whitelist', async () => {
  const rows = [
    ['NullAddress', OUTSIDER, [UNKNOWN, ZERO]],
    ['NotWhitelisted', OUTSIDER, [UNKNOWN, OUTSIDER]],
    ['OwnedSequencer', OUTSIDER, [UNKNOWN, throttled.owner]],
    ['OwnedSequencer', running.owner, [running.id, running.owner]],
    ['SeqNotActive', OUTSIDER, [UNKNOWN, stranger]],
    ['SeqNotActive', exiting.owner, [exiting.id, stranger]],
    ['NotSeqOwner', OUTSIDER, [running.id, stranger]],
    [null, running.owner, [running.id, stranger]],
  ]
  await refused(pool, 'setSequencerOwner', rows)
  await whilePaused(() => refused(pool, 'setSequencerOwner', rows))
  await chain.aside(async () => {
    await chain.send(l1.deployer, pool, 'setWhitelist', [running.owner, false])
    await chain.refuses(null, running.owner, pool, 'setSequencerOwner', [running.id, stranger])
  })
})

test('batchSubmitRewards', async () => {
  const [id, , , end] = await chain.read(pool, 'curBatchState')
  const signer = running.key.address
  const burnt = exited.key.address
  await refused(pool, 'batchSubmitRewards', [
    ['not MPC', l1.deployer, [0n, 0n, 0n, [], [1n]]],
    ['mismatch length', l1.mpc, [0n, 0n, 0n, [], [1n]]],
    ['mismatch length', l1.mpc, [0n, 0n, 0n, [], []]],
    ['invalid batch id', l1.mpc, [id, 0n, 0n, [OUTSIDER], [1n]]],
    ['invalid batch id', l1.mpc, [id + 2n, end + 1n, end + 2n, [signer], [1n]]],
    ['invalid startEpoch', l1.mpc, [id + 1n, end, 0n, [OUTSIDER], [1n]]],
    ['invalid startEpoch', l1.mpc, [id + 1n, end + 2n, end + 3n, [signer], [1n]]],
    ['invalid endEpoch', l1.mpc, [id + 1n, end + 1n, end + 1n, [OUTSIDER], [1n]]],
    ['NoSuchSeq', l1.mpc, [id + 1n, end + 1n, end + 2n, [signer, OUTSIDER], [1n, maxUint256]]],
    ['NoSuchSeq', l1.mpc, [id + 1n, end + 1n, end + 2n, [burnt, signer], [1n, maxUint256]]],
    ['Panic(17)', l1.mpc, [id + 1n, end + 1n, end + 2n, [signer], [maxUint256]]],
    ['ERC20: transfer amount exceeds balance', l1.mpc, [id + 1n, end + 1n, end + 2n, [signer], [10n ** 12n]]],
    [null, l1.mpc, [id + 1n, end + 1n, end + 2n, [signer, exiting.key.address, signer], [1n, 2n, 3n]]],
  ])
  await chain.aside(async () => {
    await chain.send(l1.payer, token, 'approve', [info.address, 0n])
    const args = [id + 1n, end + 1n, end + 2n, [signer], [1n]]
    await chain.refuses('ERC20: insufficient allowance', l1.mpc, pool, 'batchSubmitRewards', args)
  })
})

test('administration of the pool', async () => {
  const notOwner = 'Ownable: caller is not the owner'
  const calls = {
    setWhitelist: [OUTSIDER, true],
    updateMpc: [OUTSIDER],
    setPause: [false],
    updateWithdrawDelayTimeValue: [0n],
    updateBlockReward: [0n],
    setSignerUpdateThrottle: [0n],
    transferOwnership: [ZERO],
    renounceOwnership: [],
    forceUnlock: [UNKNOWN, 0],
  }
  for (const [functionName, args] of Object.entries(calls)) {
    await chain.refuses(notOwner, stranger, pool, functionName, args)
  }
  await chain.refuses('Pausable: not paused', l1.deployer, pool, 'setPause', [false])
  await whilePaused(() => chain.refuses('Pausable: paused', l1.deployer, pool, 'setPause', [true]))
  await chain.refuses('dalayTime==0', l1.deployer, pool, 'updateWithdrawDelayTimeValue', [0n])
  await chain.refuses('invalid newReward', l1.deployer, pool, 'updateBlockReward', [0n])
  await chain.refuses('Ownable: new owner is the zero address', l1.deployer, pool, 'transferOwnership', [ZERO])
  await chain.refuses(
    'Initializable: contract is already initialized', l1.deployer, pool, 'initialize', [info.address])
})

test('administration of LockingInfo', async () => {
  const notOwner = 'Ownable: caller is not the owner'
  const calls = {
    setMinLock: [0n],
    setMaxLock: [0n],
    setRewardPayer: [OUTSIDER],
    initManager: [OUTSIDER],
    transferOwnership: [ZERO],
    renounceOwnership: [],
  }
  for (const [functionName, args] of Object.entries(calls)) {
    await chain.refuses(notOwner, stranger, info, functionName, args)
  }
  await chain.refuses('_minLock=0', l1.deployer, info, 'setMinLock', [0n])
  await chain.refuses('maxLock<minLock', l1.deployer, info, 'setMaxLock', [MIN - 1n])
  await chain.refuses(null, l1.deployer, info, 'setMaxLock', [MIN])
  await chain.refuses('manager has been initialized', l1.deployer, info, 'initManager', [OUTSIDER])
  await chain.refuses('Ownable: new owner is the zero address', l1.deployer, info, 'transferOwnership', [ZERO])
  await chain.refuses('Initializable: contract is already initialized', l1.deployer, info, 'initialize',
    [OUTSIDER, OUTSIDER, OUTSIDER, 1n])
})

test('implementations cannot be initialised behind their proxies', async () => {
  for (const [name, args] of [['LockingPool', [OUTSIDER]], ['LockingInfo', [OUTSIDER, OUTSIDER, OUTSIDER, 1n]]]) {
    await chain.aside(async () => {
      const implementation = await chain.deploy(l1.deployer, name)
      await chain.refuses(
        'Initializable: contract is already initialized', l1.deployer, implementation, 'initialize', args)
    })
  }
})

test('the steps of LockingInfo are for its manager only, before any other check', async () => {
  const sequencer = {
    amount: 0n, reward: 0n, activationBatch: 0n, updatedBatch: 0n, deactivationBatch: 0n, deactivationTime: 0n,
    unlockClaimTime: 0n, nonce: 0n, owner: ZERO, signer: ZERO, pubkey: '0x', rewardRecipient: ZERO, status: 0,
  }
  const calls = {
    newSequencer: [1n, OUTSIDER, OUTSIDER, 0n, 1n, '0x'],
    increaseLocked: [1n, 1n, OUTSIDER, 0n, 0n, 0n],
    withdrawLocking: [1n, OUTSIDER, 1n, 0n, 0n],
    initializeUnlock: [1n, 0n, 0, sequencer],
    finalizeUnlock: [OUTSIDER, 1n, 0n, 0n, OUTSIDER, 0],
    liquidateReward: [1n, 0n, OUTSIDER, 0],
    distributeReward: [2n, 0n],
    logSignerChange: [1n, OUTSIDER, OUTSIDER, 1n, '0x'],
  }
  for (const [functionName, args] of Object.entries(calls)) {
    await chain.refuses('Not manager', l1.deployer, info, functionName, args)
    await chain.refuses('Not manager', running.owner, info, functionName, args)
  }
})

test('a token that fails without a reason, and one that only says no', async () => {
  const claim = ['unlockClaim', [exiting.id, 0]]
  const lock = ['lockFor', [FRESH.address, MIN, FRESH.pubkey]]
  const tokens = [
    ['SafeERC20: low-level call failed', '0x60006000fd'],
    ['SafeERC20: ERC20 operation did not succeed', '0x60206000f3'],
  ]
  for (const [reason, code] of tokens) {
    await chain.aside(async () => {
      await chain.rpc('anvil_setCode', token.address, code)
      await chain.refuses(reason, stranger, pool, ...lock)
      await chain.mineAt((await l1.record(exiting.id)).unlockClaimTime)
      await chain.refuses(reason, exiting.owner, pool, ...claim)
    })
  }
})

test('the bridge', async () => {
  const { bridge, oracle } = l1
  const deposit = (chainId, l2Gas = 0) => [chainId, token.address, OUTSIDER, OUTSIDER, 1n, l2Gas, '0x']
  const chainId = await chain.read(bridge, 'l2ChainId')

  await chain.aside(async () => {
    await chain.send(l1.deployer, oracle, 'setAllowAllXDomainSenders', [false])
    await refused(bridge, 'depositERC20ToByChainId', [
      ['incorrect chainId', stranger, deposit(chainId + 1n)],
      ['sender is not whitelisted', stranger, deposit(chainId)],
    ])
    await chain.refuses(
      'sender is not whitelisted', running.owner, pool, 'withdrawRewards', [running.id, 0], { value: l1.fee() })
    await chain.send(l1.deployer, oracle, 'setWhitelistedXDomainSender', [info.address, true])
    await chain.refuses(null, running.owner, pool, 'withdrawRewards', [running.id, 0], { value: l1.fee() })
  })
  await refused(bridge, 'depositERC20ToByChainId', [
    [`insufficient fee supplied. send at least ${l1.fee()}`, stranger, deposit(chainId)],
    ['ERC20: insufficient allowance', stranger, deposit(chainId), l1.fee()],
  ])
  await chain.aside(async () => {
    await chain.send(l1.deployer, oracle, 'setMinL2Gas', [7n])
    await chain.send(l1.deployer, oracle, 'setDiscount', [3n])
    await refused(pool, 'withdrawRewards', [
      ['insufficient fee supplied. send at least 21', running.owner, [running.id, 0]],
      ['insufficient fee supplied. send at least 24', running.owner, [running.id, 8], 23n],
      [null, running.owner, [running.id, 8], 24n],
    ])
    await chain.send(l1.deployer, oracle, 'setDiscount', [0n])
    await chain.refuses(null, running.owner, pool, 'withdrawRewards', [running.id, 4_000_000_000])
  })
  for (const [functionName, args] of [
    ['setMinL2Gas', [1n]], ['setDiscount', [1n]], ['setAllowAllXDomainSenders', [true]],
    ['setWhitelistedXDomainSender', [stranger, true]],
  ]) {
    await chain.refuses('Ownable: caller is not the owner', stranger, oracle, functionName, args)
  }
  await chain.refuses(
    'Ownable: caller is not the owner', stranger, l1.addressManager, 'setAddress', ['MVM_DiscountOracle', stranger])
})

test('the METIS token refuses in the words of OpenZeppelin 4', async () => {
  await refused(token, 'transfer', [
    ['ERC20: transfer amount exceeds balance', poor, [stranger, 1n]],
    ['ERC20: transfer to the zero address', stranger, [ZERO, 1n]],
    ['ERC20: transfer from the zero address', ZERO, [stranger, 1n]],
  ])
  await refused(token, 'transferFrom', [
    ['ERC20: insufficient allowance', poor, [stranger, poor, 1n]],
  ])
  await refused(token, 'approve', [
    ['ERC20: approve to the zero address', stranger, [ZERO, 1n]],
    ['ERC20: approve from the zero address', ZERO, [stranger, 1n]],
  ])
  await refused(token, 'decreaseAllowance', [
    ['ERC20: decreased allowance below zero', stranger, [poor, 1n]],
  ])
  await refused(token, 'mint', [
    ['Ownable: caller is not the owner', stranger, [stranger, 1n]],
    ['ERC20: mint to the zero address', l1.deployer, [ZERO, 1n]],
  ])
})

test('`empty address` has its place, though no known key hashes to the zero address', () => {
  // Reaching it would take a preimage of twenty zero bytes.
  const text = toHex('empty address').slice(2)
  for (const name of ['LockingPool', 'LockingPoolMainnet']) assert.ok(artifact(name).deployedBytecode.includes(text))
})

test('a refused transaction is mined, changes nothing and logs nothing', async () => {
  await chain.aside(async () => {
    const before = await l1.record(running.id)
    const { status, logs } = await chain.rpc('eth_sendTransactionSync', {
      from: stranger, to: pool.address, gas: toHex(1_000_000), gasPrice: '0x0', data: '0x71e10cfa'.padEnd(74, '0'),
    })
    assert.deepEqual({ status, logs }, { status: '0x0', logs: [] })
    assert.deepEqual(await l1.record(running.id), before)
  })
})

test('the decoder of these tests reads names, strings and panics', () => {
  const { abi } = artifact('LockingPool')
  const encode = (item, ...args) => encodeErrorResult({ abi: [parseAbiItem(item)], args })
  assert.equal(decodeRefusal(abi, '0x584a7938'), 'NotWhitelisted')
  assert.equal(decodeRefusal(abi, encode('error Error(string)', 'not MPC')), 'not MPC')
  assert.equal(decodeRefusal(abi, encode('error Panic(uint256)', 0x11n)), 'Panic(17)')
})
