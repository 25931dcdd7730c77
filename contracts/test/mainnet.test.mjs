// Where the pool recorded on mainnet differs (P 1.11).

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'

import { ACTIVE, BURNT, INACTIVE, METIS, ZERO, account, deployL1, nodeKey, startChain } from './support.mjs'

const chain = await startChain(after)
let l1, pool, fleet

before(async () => {
  l1 = await deployL1(chain, { pool: 'LockingPoolMainnet' })
  pool = l1.pool
  fleet = []
  for (let i = 0; i < 10; i++) fleet.push(await l1.sequencer(`sequencer ${i}`))
})

test('of ten sequencers three may exit and the fourth may not', async () => {
  await chain.aside(async () => {
    for (const { owner, id } of fleet.slice(0, 3)) await chain.send(owner, pool, 'unlock', [id, 0])
    const fourth = fleet[3]
    await chain.refuses('BFT restriction', fourth.owner, pool, 'unlock', [fourth.id, 0])
    assert.deepEqual(
      [await chain.read(pool, 'seqStatuses', ACTIVE), await chain.read(pool, 'seqStatuses', INACTIVE)], [7n, 3n])

    // The contract owner is not bound by the rule, and a finished exit makes room only by shrinking the set.
    await chain.send(l1.deployer, pool, 'forceUnlock', [fourth.id, 0])
    await chain.mineAt((await l1.record(fourth.id)).unlockClaimTime)
    for (const { owner, id } of fleet.slice(0, 4)) await chain.send(owner, pool, 'unlockClaim', [id, 0])
    await chain.send(fleet[4].owner, pool, 'unlock', [fleet[4].id, 0])
    await l1.checkInvariants()
  })
})

test('in a set of two nobody can exit, in a set of three one can', async () => {
  await chain.aside(async () => {
    const small = await deployL1(chain, { pool: 'LockingPoolMainnet' })
    const one = await small.sequencer('one')
    await small.sequencer('two')
    await chain.refuses('BFT restriction', one.owner, small.pool, 'unlock', [one.id, 0])
    await small.sequencer('three')
    await chain.send(one.owner, small.pool, 'unlock', [one.id, 0])
  })
})

test('the rule comes after the owner check and before the recipient', async () => {
  await chain.aside(async () => {
    for (const { owner, id } of fleet.slice(0, 2)) await chain.send(owner, pool, 'unlock', [id, 0])
    const owner = await l1.owner('without recipient')
    const key = nodeKey('without recipient')
    await chain.send(owner, pool, 'lockFor', [key.address, 20_000n * METIS, key.pubkey])
    const id = await chain.read(pool, 'seqOwners', owner)
    await chain.refuses('NoRewardRecipient', owner, pool, 'unlock', [id, 0])
    await chain.send(fleet[2].owner, pool, 'unlock', [fleet[2].id, 0])
    await chain.refuses('BFT restriction', owner, pool, 'unlock', [id, 0])
    await chain.refuses('NotSeqOwner', fleet[3].owner, pool, 'unlock', [id, 0])
  })
})

test('setSequencerOwner asks for the caller on the whitelist and nothing of the new owner', async () => {
  const { owner, id } = fleet[0]
  const outsider = account('outsider')
  const rows = [
    ['NotWhitelisted', outsider, [id, ZERO]],
    ['NullAddress', owner, [99n, ZERO]],
    ['SeqNotActive', owner, [99n, outsider]],
    ['NotSeqOwner', owner, [fleet[1].id, outsider]],
    [null, owner, [id, outsider]],
    [null, owner, [id, fleet[1].owner]],
  ]
  const check = async () => {
    for (const [reason, from, args] of rows) await chain.refuses(reason, from, pool, 'setSequencerOwner', args)
  }
  await check()
  await chain.aside(async () => {
    await chain.send(l1.deployer, pool, 'setPause', [true])
    await check()
  })
  await chain.aside(async () => {
    await chain.send(l1.deployer, pool, 'setWhitelist', [owner, false])
    await chain.refuses('NotWhitelisted', owner, pool, 'setSequencerOwner', [id, fleet[1].owner])
  })
})

test('an owner can come to own two sequencers, of which seqOwners knows the last', async () => {
  await chain.aside(async () => {
    const [giver, taker] = fleet
    await chain.send(giver.owner, pool, 'setSequencerOwner', [giver.id, taker.owner])
    assert.equal(await chain.read(pool, 'seqOwners', giver.owner), 0n)
    assert.equal(await chain.read(pool, 'seqOwners', taker.owner), giver.id)
    assert.equal((await l1.record(giver.id)).owner, taker.owner)
    assert.equal((await l1.record(taker.id)).owner, taker.owner)

    // Both obey; when one has left, the map forgets the owner, who still holds the other.
    await chain.send(taker.owner, pool, 'unlock', [taker.id, 0])
    await chain.send(taker.owner, pool, 'relock', [giver.id, 1n, false])
    await chain.mineAt((await l1.record(taker.id)).unlockClaimTime)
    await chain.send(taker.owner, pool, 'unlockClaim', [taker.id, 0])
    assert.equal(await chain.read(pool, 'seqOwners', taker.owner), 0n)
    assert.equal(await chain.read(pool, 'seqSigners', taker.key.address), BURNT)
    assert.equal((await l1.record(giver.id)).status, ACTIVE)
    await l1.checkInvariants()
  })
})

test('a sequencer handed to its own owner stays known', async () => {
  await chain.aside(async () => {
    const { owner, id } = fleet[0]
    await chain.send(owner, pool, 'setSequencerOwner', [id, owner])
    assert.equal(await chain.read(pool, 'seqOwners', owner), id)
  })
})
