import { spawn } from 'node:child_process'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import ts from 'typescript'
import { expect, test } from 'vitest'
import { readSafetensorsHeader } from '../../src/io/header'
import { readCheckpoint } from '../../src/io/state'
import { integers, temporaryFolder } from './helpers'

const root = join(__dirname, '../..')
const lanes = 4
const killsPerLane = 60

/** The saver and the modules it needs as plain JavaScript, which every Node runs in a process of its own. */
async function buildSaver(): Promise<string> {
  const folder = await temporaryFolder()
  const modules = (await readdir(join(root, 'src/io')))
    .filter(name => name.endsWith('.ts'))
    .map(name => `src/io/${name}`)
  for (const path of ['src/dtype.ts', 'src/errors.ts', 'src/objects.ts', 'test/io/saver.ts', ...modules]) {
    const source = await readFile(join(root, path), 'utf8')
    const options = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022, esModuleInterop: true }
    const target = join(folder, path.replace(/\.ts$/, '.js'))
    await mkdir(dirname(target), { recursive: true })
    await writeFile(target, ts.transpileModule(source, { compilerOptions: options }).outputText)
  }
  return join(folder, 'test/io/saver.js')
}

/** Saves from `first` on, kills after at least one save and `delay` ms; the last step that the saver reported. */
async function saveAndKill(saver: string, folder: string, first: number, delay: number): Promise<number> {
  const child = spawn(process.execPath, [saver, folder, String(first)], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  const begun = new Promise<void>(resolve => {
    child.stdout.on('data', chunk => {
      output += chunk
      resolve()
    })
  })
  const ended = new Promise<string | null>(resolve => child.once('close', (_code, signal) => resolve(signal)))
  await Promise.race([begun, ended])
  await pause(delay)
  child.kill('SIGKILL')
  expect(await ended).toBe('SIGKILL')
  return Number(output.trim().split('\n').at(-1))
}

/** The step of the checkpoint in `folder`, whose every byte must be of that step. */
function verifiedStep(folder: string): Promise<number> {
  return readCheckpoint(folder, async (state, files) => {
    expect(state.optimizer).toEqual({ lr: 1 / state.step })
    for (const [path, value] of [
      [files.model, state.step],
      [files.optimizer!, -state.step],
    ] as const) {
      const { tensors } = await readSafetensorsHeader(path)
      const bytes = (await readFile(path)).subarray(tensors[0]!.begin, tensors[0]!.end)
      expect(bytes.equals(Buffer.from(new Float32Array(20_000).fill(value).buffer))).toBe(true)
    }
    return state.step
  })
}

test('a kill at any moment of saving leaves the last good checkpoint', { timeout: 300_000 }, async () => {
  const saver = await buildSaver()
  const lane = async (index: number) => {
    const folder = join(await temporaryFolder(), 'run')
    const random = integers(index + 1)
    let step = 0
    for (let kill = 0; kill < killsPerLane; kill++) {
      const reported = await saveAndKill(saver, folder, step + 1, random(300) / 10)
      expect(reported).toBeGreaterThan(step)
      step = await verifiedStep(folder)
      expect([reported, reported + 1]).toContain(step)
    }
    // The next save removes what the kills left.
    await saveAndKill(saver, folder, step + 1, 0)
    expect((await readdir(folder)).length).toBeLessThanOrEqual(5)
  }
  await Promise.all(Array.from({ length: lanes }, (_, index) => lane(index)))
})
