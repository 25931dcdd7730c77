// What the operations do: records, balances and the order of logs (P 1.10, 1.13), on one chain, `main` variant.

import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { encodeFunctionData, parseAbi, toHex } from 'viem'

import {
  ACTIVE, BURNT, INACTIVE, L2_CHAIN, L2_METIS, METIS, RPB, UNAVAILABLE, UNLOCKED, ZERO, account, artifact, deployL1,
  names, nodeKey, only, startChain,
} from './support.mjs'

const DELAY = 21n * 86_400n
const BRIDGED = [
  // OpenZeppelin 4 logs an approval twice: when it is raised, and when the bridge uses it up.
  'MetisToken.Approval', 'MetisToken.Approval', 'MetisToken.Transfer', 'L1CrossDomainMessenger.SentMessage',
  'L1StandardBridge.ERC20ChainID', 'L1StandardBridge.ERC20DepositInitiated',
]

const chain = await startChain(after)
let l1, pool, info, token, bridge

before(async () => {
  l1 = await deployL1(chain)
  ;({ pool, info, token, bridge } = l1)
})

afterEach(() => l1.checkInvariants())

const currentBatch = () => chain.read(pool, 'currentBatch')

test('a new deployment starts with the values of P 1.5 and 1.6', async () => {
  const initial = {
    exitDelayPeriod: DELAY, WITHDRAWAL_DELAY: DELAY, rewardPerBlock: RPB, BLOCK_REWARD: RPB, signerUpdateThrottle: 1n,
    currentBatch: 1n, totalSequencers: 0n, paused: false, escrow: info.address, owner: l1.deployer, mpcAddress: l1.mpc,
  }
  for (const [view, value] of Object.entries(initial)) assert.equal(await chain.read(pool, view), value, view)
  const [id, number, startEpoch, endEpoch] = await chain.read(pool, 'curBatchState')
  assert.deepEqual([id, startEpoch, endEpoch], [1n, 0n, 0n])
  assert.ok(number > 0n && number < (await chain.head()).number)

  const escrow = {
    minLock: 20_000n * METIS, maxLock: 100_000n * METIS, totalLocked: 0n, totalRewardsLiquidated: 0n,
    manager: pool.address, rewardPayer: l1.payer, bridge: bridge.address, l1Token: token.address, l2Token: L2_METIS,
    l2ChainId: L2_CHAIN, owner: l1.deployer,
  }
  for (const [view, value] of Object.entries(escrow)) assert.equal(await chain.read(info, view), value, view)
  assert.deepEqual(
    [await chain.read(token, 'symbol'), await chain.read(token, 'decimals')], ['Metis', 18])
  assert.equal((await l1.record(1n)).status, UNAVAILABLE)
})

test('a whole life: lock, earn, relock, withdraw, rotate, move, exit, claim, and lock again', async () => {
  const owner = await l1.owner('ada')
  const key = nodeKey('ada')
  const recipient = account('ada on L2')

  // Lock, without a recipient.
  let logs = await chain.send(owner, pool, 'lockFor', [key.address, 30_000n * METIS, key.pubkey])
  assert.deepEqual(names(logs), [
    'MetisToken.Transfer', 'LockingInfo.Locked', 'LockingPool.SequencerOwnerChanged',
    'LockingPool.SequencerRewardRecipientChanged',
  ])
  assert.deepEqual(only(logs, 'MetisToken.Transfer'), { from: owner, to: info.address, value: 30_000n * METIS })
  const total = await chain.read(info, 'totalLocked')
  assert.deepEqual(only(logs, 'LockingInfo.Locked'), {
    signer: key.address, sequencerId: 1n, nonce: 1n, activationBatch: 1n, amount: 30_000n * METIS, total,
    signerPubkey: key.pubkey,
  })
  assert.deepEqual(only(logs, 'LockingPool.SequencerOwnerChanged'), { seqId: 1n, owner })
  assert.deepEqual(only(logs, 'LockingPool.SequencerRewardRecipientChanged'), { seqId: 1n, recipient: ZERO })
  const expected = {
    amount: 30_000n * METIS, reward: 0n, activationBatch: 1n, updatedBatch: 1n, deactivationBatch: 0n,
    deactivationTime: 0n, unlockClaimTime: 0n, nonce: 1n, owner, signer: key.address, pubkey: key.pubkey,
    rewardRecipient: ZERO, status: ACTIVE,
  }
  assert.deepEqual(await l1.record(1n), expected)
  assert.equal(await chain.read(pool, 'seqOwners', owner), 1n)
  assert.equal(await chain.read(pool, 'seqSigners', key.address), 1n)

  // A recipient.
  logs = await chain.send(owner, pool, 'setSequencerRewardRecipient', [1n, recipient])
  assert.deepEqual(logs, [{ name: 'LockingPool.SequencerRewardRecipientChanged', seqId: 1n, recipient }])
  expected.rewardRecipient = recipient
  assert.deepEqual(await l1.record(1n), expected)

  // A batch that names the signer twice.
  logs = await l1.batch([[key.address, 1_000n], [key.address, 500n]])
  const earned = 1_500n * RPB
  assert.deepEqual(names(logs), [
    'MetisToken.Transfer', 'LockingInfo.BatchSubmitReward', 'LockingPool.DistributeReward',
  ])
  assert.deepEqual(only(logs, 'MetisToken.Transfer'), { from: l1.payer, to: info.address, value: earned })
  assert.deepEqual(only(logs, 'LockingInfo.BatchSubmitReward'), { newBatchId: 2n })
  assert.deepEqual(only(logs, 'LockingPool.DistributeReward'), {
    batchId: 2n, startEpoch: 1n, endEpoch: 2n, amount: earned, rpb: RPB,
  })
  expected.reward = earned
  assert.deepEqual(await l1.record(1n), expected)
  assert.deepEqual(await chain.read(pool, 'curBatchState'), [2n, (await chain.head()).number, 1n, 2n])

  // Relock of the reward alone: the transfer is there, with nothing in it.
  logs = await chain.send(owner, pool, 'relock', [1n, 0n, true])
  assert.deepEqual(names(logs), ['MetisToken.Transfer', 'LockingInfo.Relocked', 'LockingInfo.LockUpdate'])
  assert.deepEqual(only(logs, 'MetisToken.Transfer'), { from: owner, to: info.address, value: 0n })
  Object.assign(expected, { amount: 30_000n * METIS + earned, reward: 0n, nonce: 2n })
  assert.deepEqual(only(logs, 'LockingInfo.Relocked'), { sequencerId: 1n, amount: earned, total: expected.amount })
  assert.deepEqual(only(logs, 'LockingInfo.LockUpdate'), { sequencerId: 1n, nonce: 2n, newAmount: expected.amount })
  assert.deepEqual(await l1.record(1n), expected)
  await l1.checkInvariants()

  // Withdraw down to the minimum; relock did not use up the throttle, withdraw does.
  const back = expected.amount - 20_000n * METIS
  logs = await chain.send(owner, pool, 'withdraw', [1n, back])
  assert.deepEqual(names(logs), ['MetisToken.Transfer', 'LockingInfo.Withdraw', 'LockingInfo.LockUpdate'])
  assert.deepEqual(only(logs, 'MetisToken.Transfer'), { from: info.address, to: owner, value: back })
  assert.deepEqual(only(logs, 'LockingInfo.Withdraw'), { sequencerId: 1n, amount: back })
  assert.deepEqual(only(logs, 'LockingInfo.LockUpdate'), { sequencerId: 1n, nonce: 3n, newAmount: 20_000n * METIS })
  Object.assign(expected, { amount: 20_000n * METIS, nonce: 3n, updatedBatch: 2n })
  assert.deepEqual(await l1.record(1n), expected)
  await chain.refuses('withdraw throttle', owner, pool, 'withdraw', [1n, 0n])
  const next = nodeKey('ada, second key')
  await chain.refuses('signer updating throttle', key.address, pool, 'updateSigner', [1n, next.pubkey])

  // Rotate in the next batch, by a signer who is on no whitelist.
  await l1.batch([[key.address, 10n]])
  logs = await chain.send(key.address, pool, 'updateSigner', [1n, next.pubkey])
  assert.deepEqual(logs, [{
    name: 'LockingInfo.SignerChange', sequencerId: 1n, nonce: 4n, oldSigner: key.address, newSigner: next.address,
    signerPubkey: next.pubkey,
  }])
  Object.assign(expected, {
    reward: 10n * RPB, nonce: 4n, updatedBatch: 3n, signer: next.address, pubkey: next.pubkey,
  })
  assert.deepEqual(await l1.record(1n), expected)
  assert.equal(await chain.read(pool, 'seqSigners', key.address), BURNT)
  assert.equal(await chain.read(pool, 'seqSigners', next.address), 1n)

  // Claim.
  const ethBefore = await chain.balance(bridge.address)
  logs = await chain.send(owner, pool, 'withdrawRewards', [1n, 0], { value: l1.fee() })
  assert.deepEqual(names(logs), [...BRIDGED, 'LockingInfo.ClaimRewards'])
  const liquidated = await chain.read(info, 'totalRewardsLiquidated')
  assert.deepEqual(only(logs, 'LockingInfo.ClaimRewards'), {
    sequencerId: 1n, recipient, amount: 10n * RPB, totalAmount: liquidated,
  })
  assert.equal(await chain.balance(bridge.address), ethBefore + l1.fee())
  expected.reward = 0n
  assert.deepEqual(await l1.record(1n), expected)

  // Move to another owner.
  const heir = await l1.owner('ada, cold')
  logs = await chain.send(owner, pool, 'setSequencerOwner', [1n, heir])
  assert.deepEqual(logs, [{ name: 'LockingPool.SequencerOwnerChanged', seqId: 1n, owner: heir }])
  expected.owner = heir
  assert.deepEqual(await l1.record(1n), expected)
  assert.equal(await chain.read(pool, 'seqOwners', owner), 0n)
  assert.equal(await chain.read(pool, 'seqOwners', heir), 1n)

  // Exit with a reward.
  await l1.batch([[next.address, 20n]])
  logs = await chain.send(heir, pool, 'unlock', [1n, 0], { value: l1.fee() })
  assert.deepEqual(names(logs), [...BRIDGED, 'LockingInfo.ClaimRewards', 'LockingInfo.UnlockInit'])
  const { timestamp } = await chain.head()
  assert.deepEqual(only(logs, 'LockingInfo.UnlockInit'), {
    user: next.address, sequencerId: 1n, nonce: 5n, deactivationBatch: 4n, deactivationTime: timestamp,
    unlockClaimTime: timestamp + DELAY, amount: 20n * RPB,
  })
  Object.assign(expected, {
    nonce: 5n, status: INACTIVE, deactivationBatch: 4n, deactivationTime: timestamp, unlockClaimTime: timestamp + DELAY,
  })
  assert.deepEqual(await l1.record(1n), expected)

  // A late reward, and a new delay that comes too late for this exit.
  await l1.batch([[next.address, 30n]])
  await chain.send(l1.deployer, pool, 'updateWithdrawDelayTimeValue', [2n * DELAY])
  expected.reward = 30n * RPB
  assert.deepEqual(await l1.record(1n), expected)
  await l1.checkInvariants()

  await chain.mineAt(expected.unlockClaimTime)
  const metisBefore = await l1.balance(heir)
  logs = await chain.send(heir, pool, 'unlockClaim', [1n, 0], { value: l1.fee() })
  assert.deepEqual(names(logs), [
    'MetisToken.Transfer', ...BRIDGED, 'LockingInfo.ClaimRewards', 'LockingInfo.Unlocked',
  ])
  assert.equal(await l1.balance(heir), metisBefore + 20_000n * METIS)
  assert.deepEqual(only(logs, 'LockingInfo.Unlocked'), {
    user: heir, sequencerId: 1n, amount: 20_000n * METIS, total: await chain.read(info, 'totalLocked'),
  })
  assert.equal(only(logs, 'LockingInfo.ClaimRewards').amount, 30n * RPB)
  Object.assign(expected, { amount: 0n, reward: 0n, nonce: 6n, status: UNLOCKED })
  assert.deepEqual(await l1.record(1n), expected)
  assert.equal(await chain.read(pool, 'seqOwners', heir), 0n)
  assert.equal(await chain.read(pool, 'seqSigners', next.address), BURNT)
  await chain.send(l1.deployer, pool, 'updateWithdrawDelayTimeValue', [DELAY])

  // The owner may come back, the keys may not.
  const third = nodeKey('ada, third key')
  await chain.refuses('SignerExisted', heir, pool, 'lockFor', [next.address, 20_000n * METIS, next.pubkey])
  await chain.send(heir, pool, 'lockFor', [third.address, 20_000n * METIS, third.pubkey])
  assert.equal(await chain.read(pool, 'seqOwners', heir), 2n)
})

test('a bounded allowance makes the token log an approval before the transfer of a lock', async () => {
  const owner = await l1.owner('careful', { allowance: 20_000n * METIS })
  const key = nodeKey('careful')
  const recipient = account('careful on L2')
  const logs = await chain.send(
    owner, pool, 'lockWithRewardRecipient', [key.address, recipient, 20_000n * METIS, key.pubkey])
  assert.deepEqual(names(logs), [
    'MetisToken.Approval', 'MetisToken.Transfer', 'LockingInfo.Locked', 'LockingPool.SequencerOwnerChanged',
    'LockingPool.SequencerRewardRecipientChanged',
  ])
  assert.equal(only(logs, 'LockingPool.SequencerRewardRecipientChanged').recipient, recipient)
})

test('relock adds tokens and reward together, and counts both in Relocked', async () => {
  const bob = await l1.sequencer('bob')
  await l1.batch([[bob.key.address, 100n]])
  const before = await l1.record(bob.id)
  const logs = await chain.send(bob.owner, pool, 'relock', [bob.id, 5n * METIS, true])
  assert.equal(only(logs, 'MetisToken.Transfer').value, 5n * METIS)
  assert.equal(only(logs, 'LockingInfo.Relocked').amount, 5n * METIS + 100n * RPB)
  const after = await l1.record(bob.id)
  assert.deepEqual(after, {
    ...before, amount: before.amount + 5n * METIS + 100n * RPB, reward: 0n, nonce: before.nonce + 1n,
  })
  // Without lockReward the reward stays what it is.
  await l1.batch([[bob.key.address, 7n]])
  await chain.send(bob.owner, pool, 'relock', [bob.id, 1n, false])
  assert.equal((await l1.record(bob.id)).reward, 7n * RPB)
})

test('nothing to claim: withdrawRewards succeeds in silence and the pool keeps the ETH', async () => {
  const carl = await l1.sequencer('carl')
  const before = await l1.record(carl.id)
  const stuck = await chain.balance(pool.address)
  assert.deepEqual(await chain.send(carl.owner, pool, 'withdrawRewards', [carl.id, 0], { value: 5n }), [])
  assert.equal(await chain.balance(pool.address), stuck + 5n)
  assert.deepEqual(await l1.record(carl.id), before)
})

test('an exit without reward claims 0, and LockingInfo keeps the ETH, at both ends', async () => {
  const dora = await l1.sequencer('dora')
  const stuck = await chain.balance(info.address)
  let logs = await chain.send(dora.owner, pool, 'unlock', [dora.id, 0], { value: 5n })
  assert.deepEqual(names(logs), ['LockingInfo.ClaimRewards', 'LockingInfo.UnlockInit'])
  assert.deepEqual(only(logs, 'LockingInfo.ClaimRewards'), {
    sequencerId: dora.id, recipient: dora.recipient, amount: 0n,
    totalAmount: await chain.read(info, 'totalRewardsLiquidated'),
  })
  assert.equal(await chain.balance(info.address), stuck + 5n)

  await chain.mineAt((await l1.record(dora.id)).unlockClaimTime)
  logs = await chain.send(dora.owner, pool, 'unlockClaim', [dora.id, 0], { value: 6n })
  assert.deepEqual(names(logs), ['MetisToken.Transfer', 'LockingInfo.Unlocked'])
  assert.equal(await chain.balance(info.address), stuck + 11n)
  assert.equal((await l1.record(dora.id)).status, UNLOCKED)
})

test('forceUnlock works on a paused pool for an owner who left the whitelist', async () => {
  const emil = await l1.sequencer('emil')
  await l1.batch([[emil.key.address, 9n]])
  await chain.send(l1.deployer, pool, 'setWhitelist', [emil.owner, false])
  await chain.send(l1.deployer, pool, 'setPause', [true])
  await chain.rpc('anvil_setBalance', l1.deployer, toHex(METIS))
  const logs = await chain.send(l1.deployer, pool, 'forceUnlock', [emil.id, 0], { value: l1.fee() })
  assert.deepEqual(names(logs), [...BRIDGED, 'LockingInfo.ClaimRewards', 'LockingInfo.UnlockInit'])
  const { status, reward, nonce } = await l1.record(emil.id)
  assert.deepEqual({ status, reward, nonce }, { status: INACTIVE, reward: 0n, nonce: 2n })
  await chain.send(l1.deployer, pool, 'setPause', [false])
})

test('the bridge tells L2 whom to credit, and keeps all the ETH it gets', async () => {
  const fay = await l1.sequencer('fay')
  await l1.batch([[fay.key.address, 4n]])
  const ethBefore = await chain.balance(bridge.address)
  const generous = 3n * l1.fee()
  const logs = await chain.send(fay.owner, pool, 'withdrawRewards', [fay.id, 300_000], { value: generous })
  assert.equal(await chain.balance(bridge.address), ethBefore + generous)

  const amount = 4n * RPB
  assert.deepEqual(only(logs, 'L1StandardBridge.ERC20ChainID'), { chainId: L2_CHAIN })
  assert.deepEqual(only(logs, 'L1StandardBridge.ERC20DepositInitiated'), {
    l1Token: token.address, l2Token: L2_METIS, from: info.address, to: fay.recipient, amount, data: '0x',
  })
  const { messageNonce, ...message } = only(logs, 'L1CrossDomainMessenger.SentMessage')
  assert.equal(messageNonce, await chain.read(l1.messenger, 'messageNonce') - 1n)
  assert.deepEqual(message, {
    target: '0x4200000000000000000000000000000000000010', sender: bridge.address, gasLimit: 300_000n, chainId: L2_CHAIN,
    message: encodeFunctionData({
      abi: parseAbi(['function finalizeDeposit(address, address, address, address, uint256, bytes)']),
      args: [token.address, L2_METIS, info.address, fay.recipient, amount, '0x'],
    }),
  })
  assert.equal(await chain.read(token, 'allowance', info.address, bridge.address), 0n)
})

test('clients find the fee oracle through the bridge', async () => {
  const addressManager = chain.at('Lib_AddressManager', await chain.read(bridge, 'addressmgr'))
  assert.equal(await chain.read(addressManager, 'getAddress', 'MVM_DiscountOracle'), l1.oracle.address)
  assert.equal(await chain.read(addressManager, 'getAddress', 'nobody'), ZERO)
  assert.equal(await chain.read(l1.oracle, 'getMinL2Gas'), 200_000n)
  assert.equal(await chain.read(l1.oracle, 'getDiscount'), 10n ** 9n)
})

test('a batch through a contract in front of the pool credits the same', async () => {
  const gus = await l1.sequencer('gus')
  const multicall = await chain.deploy(l1.deployer, 'Multicall')
  await chain.send(l1.deployer, pool, 'updateMpc', [multicall.address])
  const [id, , , end] = await chain.read(pool, 'curBatchState')
  const batch = (batchId) => ({
    target: pool.address, value: 0n, data: encodeFunctionData({
      abi: pool.abi, functionName: 'batchSubmitRewards',
      args: [batchId, end + 1n, end + 2n, [gus.key.address], [11n]],
    }),
  })
  const logs = await chain.send(account('anyone'), multicall, 'multicall', [[batch(id + 1n)]])
  assert.equal(only(logs, 'LockingPool.DistributeReward').amount, 11n * RPB)
  assert.equal((await l1.record(gus.id)).reward, 11n * RPB)
  // Its own refusals are the pool's, unchanged.
  await chain.refuses('invalid batch id', account('anyone'), multicall, 'multicall', [[batch(id + 1n)]])
  await chain.send(l1.deployer, pool, 'updateMpc', [l1.mpc])
})

test('every setting logs its change', async () => {
  const act = (contract, functionName, ...args) => chain.send(l1.deployer, contract, functionName, args)
  const someone = account('someone')
  await chain.aside(async () => {
    const told = [
      [await act(pool, 'setWhitelist', someone, true), { name: 'LockingPool.SetWhitelist', user: someone, yes: true }],
      [await act(pool, 'updateMpc', someone), { name: 'LockingPool.UpdateMpc', newMpc: someone }],
      [await act(pool, 'setPause', true), { name: 'LockingPool.Paused', account: l1.deployer }],
      [await act(pool, 'setPause', false), { name: 'LockingPool.Unpaused', account: l1.deployer }],
      [await act(pool, 'updateWithdrawDelayTimeValue', 5n),
        { name: 'LockingPool.WithrawDelayTimeChange', cur: 5n, prev: DELAY }],
      [await act(pool, 'updateBlockReward', 6n), { name: 'LockingPool.RewardUpdate', newReward: 6n, oldReward: RPB }],
      [await act(pool, 'setSignerUpdateThrottle', 0n), { name: 'LockingPool.SetSignerUpdateThrottle', n: 0n }],
      [await act(info, 'setMinLock', 7n), { name: 'LockingInfo.SetMinLock', newMinLock: 7n }],
      [await act(info, 'setMaxLock', 8n), { name: 'LockingInfo.SetMaxLock', newMaxLock: 8n }],
      [await act(info, 'setRewardPayer', someone), { name: 'LockingInfo.SetRewardPayer', payer: someone }],
      [await act(info, 'transferOwnership', someone),
        { name: 'LockingInfo.OwnershipTransferred', previousOwner: l1.deployer, newOwner: someone }],
      [await act(pool, 'renounceOwnership'),
        { name: 'LockingPool.OwnershipTransferred', previousOwner: l1.deployer, newOwner: ZERO }],
    ]
    for (const [logs, expected] of told) assert.deepEqual(logs, [expected])
    assert.equal(await chain.read(pool, 'WITHDRAWAL_DELAY'), 5n)
    assert.equal(await chain.read(pool, 'BLOCK_REWARD'), 6n)
  })
})

test('the throttle follows its setting, and lock, withdraw and updateSigner share it', async () => {
  await chain.aside(async () => {
    await chain.send(l1.deployer, pool, 'setSignerUpdateThrottle', [2n])
    const hal = await l1.sequencer('hal', { amount: 30_000n * METIS })
    const rotate = (name) => ['updateSigner', [hal.id, nodeKey(name).pubkey]]
    const throttled = 'signer updating throttle'
    await l1.batch([[hal.key.address, 1n]])
    await chain.refuses(throttled, hal.key.address, pool, ...rotate('hal 2'))
    await chain.send(hal.owner, pool, 'withdraw', [hal.id, 1n])
    await l1.batch([[hal.key.address, 1n]])
    await chain.refuses(throttled, hal.key.address, pool, ...rotate('hal 2'))
    await l1.batch([[hal.key.address, 1n]])
    await chain.send(hal.key.address, pool, ...rotate('hal 2'))
    assert.equal((await l1.record(hal.id)).updatedBatch, await currentBatch())
    await chain.refuses('withdraw throttle', hal.owner, pool, 'withdraw', [hal.id, 1n])
  })
})

test('a batch that credits nothing still moves on and still logs its transfer', async () => {
  const ida = await l1.sequencer('ida')
  const id = await currentBatch()
  const logs = await l1.batch([[ida.key.address, 0n]])
  assert.equal(only(logs, 'MetisToken.Transfer').value, 0n)
  assert.equal(await currentBatch(), id + 1n)
})

test('an upgrade to the mainnet variant keeps every record', async () => {
  await chain.aside(async () => {
    const ida = await chain.read(pool, 'totalSequencers')
    const record = await l1.record(ida)
    const mainnet = await chain.deploy(l1.deployer, 'LockingPoolMainnet')
    const proxyAbi = artifact('TransparentUpgradeableProxy')
    chain.at('TransparentUpgradeableProxy', pool.address, proxyAbi)
    const logs = await chain.send(l1.deployer, l1.admin, 'upgrade', [pool.address, mainnet.address])
    chain.at(pool.name, pool.address, pool)
    assert.deepEqual(logs, [{ name: 'TransparentUpgradeableProxy.Upgraded', implementation: mainnet.address }])
    assert.deepEqual(await l1.record(ida), record)
    await chain.refuses('NotWhitelisted', account('nobody'), pool, 'setSequencerOwner', [ida, ZERO])
  })
})
