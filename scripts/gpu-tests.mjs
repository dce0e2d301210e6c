// gpu-tests.mjs FOLDER: sums up the reports that Vitest has left there as JSON: for each how many tests passed, failed and were
// skipped, and what failed with its message.
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'

const [, , folder] = process.argv
const words = { passed: 'passed', failed: 'failed', pending: 'skipped', skipped: 'skipped', todo: 'skipped' }

function summary(path) {
  const { testResults } = JSON.parse(readFileSync(path, 'utf8'))
  const found = { passed: 0, failed: 0, skipped: 0, failures: [] }
  for (const { name, status, message, assertionResults } of testResults) {
    // A file that could not be run at all has no tests.
    if (status === 'failed' && assertionResults.length === 0) {
      found.failed++
      found.failures.push({ test: basename(name), message: message?.slice(0, 400) })
    }
    for (const { fullName, status, failureMessages = [] } of assertionResults) {
      found[words[status] ?? 'skipped']++
      if (status !== 'failed') continue
      found.failures.push({ test: `${basename(name)}: ${fullName}`, message: failureMessages.join('\n').slice(0, 400) })
    }
  }
  return found
}

const reports = readdirSync(folder).filter(name => name.endsWith('.json'))
const all = Object.fromEntries(reports.sort().map(name => [basename(name, '.json'), summary(join(folder, name))]))
process.stdout.write(`${JSON.stringify(all, null, 1)}\n`)
