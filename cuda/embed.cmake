# Writes headers into a C++ source as text: cmake -DOUTPUT=file.cpp "-DHEADERS=name=path;name=path" -P embed.cmake
file(WRITE ${OUTPUT}.new "#include \"embedded.h\"\n\nnamespace anneal::cuda {\n\nstd::span<const Header> embeddedHeaders() {\n"
     "  static const Header all[] = {\n")
foreach(header IN LISTS HEADERS)
  string(FIND "${header}" "=" at)
  string(SUBSTRING "${header}" 0 ${at} name)
  math(EXPR at "${at} + 1")
  string(SUBSTRING "${header}" ${at} -1 path)
  file(READ "${path}" content)
  file(APPEND ${OUTPUT}.new "{\"${name}\", R\"=====(" "${content}" ")=====\"},\n")
endforeach()
file(APPEND ${OUTPUT}.new "  };\n  return all;\n}\n\n}  // namespace anneal::cuda\n")
file(RENAME ${OUTPUT}.new ${OUTPUT})
