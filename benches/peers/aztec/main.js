// One process of Aztec's HA signer: its guard on the given Postgres, a local key, signatures one after the other or side
// by side. Prints one JSON line. Nothing is asked over a network, and there is neither policy nor audit.
import { readFileSync } from 'node:fs';

import { EthAddress } from '@aztec/foundation/eth-address';
import { Buffer32 } from '@aztec/foundation/buffer';
import { Secp256k1Signer } from '@aztec/foundation/crypto/secp256k1-signer';
import { createHASigner } from '@aztec/validator-ha-signer/factory';
import { runMigrations } from '@aztec/validator-ha-signer/migrations';

const databaseUrl = readFileSync(process.env.DATABASE_URL_FILE, 'utf8').trim();
const seconds = Number(process.env.SECONDS_EACH);
await runMigrations(databaseUrl, { direction: 'up' });
const { signer } = await createHASigner({
  databaseUrl,
  haSigningEnabled: true,
  nodeId: 'bench',
  pollingIntervalMs: 100,
  signingTimeoutMs: 3000,
  poolMaxCount: 20,
  l1Contracts: { rollupAddress: EthAddress.fromString('0x' + '11'.repeat(20)) },
});
const keys = Array.from({ length: 20 }, (_, n) => new Secp256k1Signer(Buffer32.fromBuffer(Buffer.alloc(32, n + 1))));
let slot = 0n;

async function run(clients) {
  const times = [];
  const begun = performance.now();
  const one = async (key) => {
    while (performance.now() - begun < seconds * 1000) {
      const asked = performance.now();
      slot += 1n;
      const context = { slot, blockNumber: Number(slot), dutyType: 'ATTESTATION' };
      const hash = Buffer32.fromBigInt(slot);
      const signature = await signer.signWithProtection(key.address, hash, context, (root) => key.sign(root));
      if (!signature) throw new Error('no signature');
      times.push(performance.now() - asked);
    }
  };
  await Promise.all(keys.slice(0, clients).map(one));
  const elapsed = (performance.now() - begun) / 1000;
  times.sort((a, b) => a - b);
  const at = (part) => times[Math.min(times.length - 1, Math.floor(times.length * part))];
  return { rate: times.length / elapsed, p50_ms: at(0.5), p99_ms: at(0.99) };
}

await run(1);
const one = await run(1);
const twenty = await run(20);
console.log(JSON.stringify({ one, twenty }));
await signer.stop();
process.exit(0);
