// Compiles src/ into artifacts/, or with --check says whether the committed artifacts are what src/ gives.
//
// The artifacts are committed because `dev/` and the Rust tests deploy from them and must not need npm.
// Everything is compiled for berlin: L2 has no later opcodes, and one proxy artifact then serves both chains.

import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('.', import.meta.url))
const ARTIFACTS = join(ROOT, 'artifacts')
const FOREIGN = ['ProxyAdmin', 'TransparentUpgradeableProxy']

const SETTINGS = {
  evmVersion: 'berlin',
  optimizer: { enabled: true, runs: 200 },
  // Without the hash of the metadata, comments and paths do not change the bytecode.
  metadata: { bytecodeHash: 'none' },
  outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object'] } },
}

/** All artifacts by file name, as the exact text of the files. */
export function compile() {
  const solc = createRequire(import.meta.url)('solc')
  const sources = Object.fromEntries(
    readdirSync(join(ROOT, 'src'), { recursive: true })
      .filter((path) => path.endsWith('.sol'))
      .sort()
      .map((path) => [`src/${path}`, { content: readFileSync(join(ROOT, 'src', path), 'utf8') }]),
  )
  const input = { language: 'Solidity', sources, settings: SETTINGS }
  const imported = (path) => ({ contents: readFileSync(join(ROOT, 'node_modules', path), 'utf8') })
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: imported }))

  const complaints = (output.errors ?? []).map((error) => error.formattedMessage)
  if (complaints.length > 0) throw new Error(complaints.join('\n'))

  const artifacts = {}
  for (const [path, contracts] of Object.entries(output.contracts)) {
    for (const [contractName, { abi, evm }] of Object.entries(contracts)) {
      const wanted = path.startsWith('src/') || FOREIGN.includes(contractName)
      // Interfaces and abstract bases have no code and nothing to deploy.
      if (!wanted || evm.bytecode.object === '') continue
      artifacts[`${contractName}.json`] = `${JSON.stringify(sorted({
        contractName,
        abi,
        bytecode: `0x${evm.bytecode.object}`,
        deployedBytecode: `0x${evm.deployedBytecode.object}`,
      }))}\n`
    }
  }
  return artifacts
}

/** What is wrong with the committed artifacts, one line each. */
export function differences(artifacts) {
  const found = existsSync(ARTIFACTS) ? readdirSync(ARTIFACTS) : []
  const names = [...new Set([...found, ...Object.keys(artifacts)])].sort()
  return names.flatMap((name) => {
    if (!(name in artifacts)) return [`artifacts/${name} has no source`]
    if (!found.includes(name)) return [`artifacts/${name} is missing`]
    return readFileSync(join(ARTIFACTS, name), 'utf8') === artifacts[name] ? [] : [`artifacts/${name} is out of date`]
  })
}

function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]))
}

function main() {
  const artifacts = compile()
  if (process.argv.includes('--check')) {
    const wrong = differences(artifacts)
    if (wrong.length > 0) {
      console.error(`${wrong.join('\n')}\nRun \`npm run build\` in contracts/ and commit the result.`)
      process.exit(1)
    }
    console.log(`${Object.keys(artifacts).length} artifacts are current`)
    return
  }
  rmSync(ARTIFACTS, { recursive: true, force: true })
  mkdirSync(ARTIFACTS)
  for (const [name, text] of Object.entries(artifacts)) writeFileSync(join(ARTIFACTS, name), text)
  console.log(`wrote ${Object.keys(artifacts).length} artifacts`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
