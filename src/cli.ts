#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { diagnose, formatDiagnosis } from './doctor'

const usage = `Usage: anneal doctor [--json]

  doctor   prints the machine, the system, and the native binary that was found;
           ends with status 0 when Anneal can be used here, else 1`

/** Returns the process's exit status: 0 done, 1 Anneal is unusable here, 2 wrong arguments. */
function main(args: string[]): number {
  let parsed: ReturnType<typeof parse>
  try {
    parsed = parse(args)
  } catch (error) {
    console.error(`anneal: ${(error as Error).message}\n\n${usage}`)
    return 2
  }
  const { values, positionals } = parsed
  if (values.help) {
    console.log(usage)
    return 0
  }
  if (positionals.length !== 1 || positionals[0] !== 'doctor') {
    const came = positionals.length === 0 ? 'a command is missing' : `unknown command: ${positionals.join(' ')}`
    console.error(`anneal: ${came}\n\n${usage}`)
    return 2
  }
  const diagnosis = diagnose()
  console.log(values.json ? JSON.stringify(diagnosis, null, 2) : formatDiagnosis(diagnosis))
  return diagnosis.usable ? 0 : 1
}

function parse(args: string[]) {
  const options = { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } as const
  return parseArgs({ args, options, allowPositionals: true })
}

process.exitCode = main(process.argv.slice(2))
