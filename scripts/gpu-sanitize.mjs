// node scripts/gpu-sanitize.mjs --seconds N --out FILE: runs bench/cuda/smoke.cjs under each tool of compute-sanitizer, one after the other,
// each within its share of the time. FILE says how each ended, and what it has found how often in which kernels.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { parseArgs } from 'node:util'

const { values: options } = parseArgs({ options: { seconds: { type: 'string' }, out: { type: 'string' } } })
const deadline = performance.now() + Number(options.seconds) * 1000

const toolkits = existsSync('/usr/local') ? readdirSync('/usr/local').filter(name => name.startsWith('cuda')) : []
const folders = [
  ...process.env.PATH.split(delimiter),
  ...[process.env.CUDA_HOME, ...toolkits.map(name => join('/usr/local', name))]
    .filter(Boolean)
    .flatMap(home => [join(home, 'bin'), join(home, 'compute-sanitizer')]),
]
const sanitizer = folders.map(folder => join(folder, 'compute-sanitizer')).find(existsSync)

// Where memcheck finds something, the kernel ends and the process goes on.
const tools = { memcheck: ['--destroy-on-device-error', 'kernel'], racecheck: [], synccheck: [], initcheck: [] }
const found = {}
const write = () => writeFileSync(options.out, `${JSON.stringify(found, null, 1)}\n`)

/** How often what was reported of which kernel: "Invalid __global__ read of size 4 bytes at sumKernel" by number. */
function reports(output) {
  const counts = {}
  const lines = output.split('\n').filter(line => line.startsWith('====='))
  for (const [i, line] of lines.entries()) {
    const what =
      /^=+ ((Error: |Warning: )?(Invalid|Race|Uninit|Barrier|Divergent|Missing|Program hit|Out-of|Misaligned|.* hazard).*)/.exec(
        line,
      )?.[1]
    if (!what) continue
    const where = / at (.+?)\+0x/.exec(`${line} ${lines[i + 1] ?? ''}`)?.[1]
    const key = `${what.replace(/\+0x.*/, '')}${where && !what.includes(where) ? ` at ${where}` : ''}`.slice(0, 300)
    counts[key] = (counts[key] ?? 0) + 1
  }
  return counts
}

function check(tool, more, seconds) {
  const given = ['--tool', tool, '--error-exitcode', '9', '--print-limit', '200', ...more]
  // timeout ends what the tool has started, too.
  const command = [
    '--kill-after=5',
    String(seconds),
    sanitizer,
    ...given,
    process.execPath,
    'bench/cuda/smoke.cjs',
    '--here',
  ]
  const { status, error, stdout, stderr } = spawnSync('timeout', command, { encoding: 'utf8', maxBuffer: 2 ** 28 })
  const output = `${stdout}\n${stderr}`
  console.log(`== ${tool}\n${output.slice(0, 400_000)}`)
  const late = status === 124 || status === 137
  const ended = late ? `did not end in ${seconds} s` : (error?.message ?? `status ${status}`)
  const summary = /ERROR SUMMARY: .*|RACECHECK SUMMARY: .*/.exec(output)?.[0]
  return { passed: status === 0, ended, summary, reports: reports(output) }
}

if (!sanitizer) {
  found.problem = 'compute-sanitizer is neither in PATH nor in a folder of CUDA in /usr/local'
  write()
  console.log(found.problem)
  process.exit(1)
}
const names = Object.keys(tools)
for (const [i, tool] of names.entries()) {
  const seconds = Math.max(1, Math.floor((deadline - performance.now()) / 1000 / (names.length - i)))
  found[tool] = check(tool, tools[tool], seconds)
  write()
}
for (const [tool, { ended, summary, reports }] of Object.entries(found)) {
  console.log(`${tool}: ${ended}; ${summary ?? 'no summary'}`)
  const most = Object.entries(reports).sort(([, a], [, b]) => b - a)
  for (const [what, count] of most.slice(0, 8)) console.log(`    ${count} × ${what.slice(0, 200)}`)
}
process.exitCode = Object.values(found).every(({ passed }) => passed) ? 0 : 1
