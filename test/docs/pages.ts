import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'

const root = join(__dirname, '..', '..')

/** What the blocks of a page take for granted: imports and declarations. */
export const pages: Readonly<Record<string, string>> = {
  'README.md': `
    import { compile, losses, nn, type Tensor } from 'anneal'
    declare const batches: AsyncIterable<[Tensor, Tensor]>`,
  'docs/data.md': `
    import { tensor } from 'anneal'
    import { ColumnTransformer, OneHotEncoder, Pipeline, preprocessing, SimpleImputer, type Table } from 'anneal/data'
    declare const table: Table
    declare const step: (batch: unknown) => void`,
  'docs/models.md': `
    import type { Tensor } from 'anneal'
    import { StandardScaler } from 'anneal/data'
    declare const images: Tensor, table: Tensor, kinds: Tensor, ages: Tensor, scaler: StandardScaler`,
  'docs/training.md': '',
  'docs/compile.md': `
    import type { Tensor } from 'anneal'
    declare const batches: AsyncIterable<[Tensor, Tensor]>, x: Tensor, y: Tensor`,
  'docs/quantization.md': `
    import type { Tensor } from 'anneal'
    declare const x: Tensor`,
}

/** The TypeScript blocks of a page as one program: each sees what those before it declare, and may declare it anew. */
export function programOf(page: string): string {
  const blocks = [...readFileSync(join(root, page), 'utf8').matchAll(/^```ts\n(.*?)^```$/gms)].map(match => match[1]!)
  const names = new Map<string, Set<string>>()
  const bodies = [pages[page]!, ...blocks].map(block =>
    block.replace(/^ *import (type )?\{(.*?)\} from '(.*?)'$/gm, (_, type = '', list: string, from: string) => {
      const known = names.get(from) ?? new Set()
      names.set(from, known)
      for (const name of list.split(',')) known.add(`${type}${name.trim()}`.replace(/^type /, ''))
      return ''
    }),
  )
  const imports = Array.from(names, ([from, known]) => `import { ${[...known].join(', ')} } from '${from}'`)
  return [...imports, bodies.join('\n{\n'), '}'.repeat(blocks.length), 'export {}'].join('\n')
}

/** What the compiler says of the programs of all pages. */
export function complaints(): string[] {
  const path = (page: string) => join(root, 'test', 'docs', `${page.replaceAll('/', '-')}.ts`)
  const programs = new Map(Object.keys(pages).map(page => [path(page), programOf(page)]))
  const config = ts.readConfigFile(join(root, 'tsconfig.test.json'), ts.sys.readFile).config
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: ['x.ts'] }, ts.sys, root)
  const host = ts.createCompilerHost({ ...options, noUnusedLocals: false })
  const { readFile, fileExists } = host
  host.readFile = file => programs.get(file) ?? readFile(file)
  host.fileExists = file => programs.has(file) || fileExists(file)
  const program = ts.createProgram([...programs.keys()], { ...options, noUnusedLocals: false }, host)
  return [...programs.keys()].flatMap(file => {
    const source = program.getSourceFile(file)!
    const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]
    return found.map(({ messageText, start }) => {
      const line = source.text.slice(0, start).split('\n').length
      return `${file}:${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}: ${source.text.split('\n')[line - 1]}`
    })
  })
}
