import assert from 'node:assert/strict'
import { test } from 'node:test'

import { compile, differences } from '../build.mjs'

test('the committed artifacts are what the sources compile to', () => {
  assert.deepEqual(differences(compile()), [])
})
