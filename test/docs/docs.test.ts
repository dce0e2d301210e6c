import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import ts from 'typescript'
import { expect, test } from 'vitest'
import { complaints, programOf } from './pages'

const root = join(__dirname, '..', '..')

test('the blocks of all pages compile', () => {
  expect(complaints()).toEqual([])
})

test('the blocks of the page on training run, one after the other', async () => {
  const output = ts.transpile(programOf('docs/training.md'), {
    module: ts.ModuleKind.ESNext,
    target: ts.ScriptTarget.ES2022,
  })
  await mkdir(join(root, 'build'), { recursive: true })
  const folder = await mkdtemp(join(root, 'build', 'docs-')) // inside of the package, which so finds itself by its name
  try {
    await symlink(join(root, 'data'), join(folder, 'data'))
    await writeFile(join(folder, 'training.mjs'), output)
    const { stdout } = await promisify(execFile)(process.execPath, ['training.mjs'], { cwd: folder })
    expect(stdout).toMatch(/epoch: \d/)
    expect(await readdir(folder)).toEqual(expect.arrayContaining(['checkpoints', 'logs', 'output']))
  } finally {
    await rm(folder, { recursive: true })
  }
})
