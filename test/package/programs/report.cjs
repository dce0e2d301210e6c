// What every program prints: the losses, the predictions, and the libraries that the process has loaded.
module.exports = function report(losses, predictions) {
  process.report.excludeNetwork = true
  const libraries = process.report.getReport().sharedObjects.filter(path => path.startsWith('/'))
  const node = Number.parseInt(process.versions.node, 10)
  console.log(JSON.stringify({ node, firstLoss: losses[0], lastLoss: losses.at(-1), predictions, libraries }))
}
