/** How the pages look: Grafana's dark theme, for paper and screens alike. */
export const STYLE = `
*{box-sizing:border-box}
body{margin:0;padding:20px 20px 40px;background:#111217;color:#ccccdc;
  font:13px/1.45 Inter,"DejaVu Sans",Arial,sans-serif;width:1600px}
header{margin:0 0 14px}
nav{display:flex;gap:18px;font-size:12px;margin-bottom:14px}
nav a{color:#6e9fff;text-decoration:none}nav b{color:#fff}
h1{font-size:24px;font-weight:500;margin:0;color:#fff}
header p{margin:2px 0;color:#9a9ba6}.scope{font-size:12px}
main{display:grid;grid-template-columns:repeat(24,minmax(0,1fr));gap:8px}
section{background:#181b1f;border:1px solid #24272d;border-radius:4px;padding:0 8px 6px;
  display:flex;flex-direction:column;overflow:hidden}
h2{font-size:13px;font-weight:500;margin:0;height:34px;line-height:34px;color:#dedee6;
  white-space:nowrap;overflow:hidden;text-overflow:ellipsis;flex:none}
.stat h2{color:#9a9ba6}
div.stat{flex:1;display:flex;align-items:center;justify-content:center;font-size:38px;
  font-weight:500;letter-spacing:-.5px;padding-bottom:10px}
.empty{flex:1;display:flex;align-items:center;justify-content:center;color:#6c6d76}
.scroll{flex:1;overflow:hidden}
table{width:100%;border-collapse:collapse;font-size:12px}
th{text-align:left;font-weight:500;color:#6e9fff;padding:5px 10px 5px 4px;
  border-bottom:1px solid #2a2d33;white-space:nowrap}
td{padding:4px 10px 4px 4px;border-bottom:1px solid #202328;white-space:nowrap;max-width:380px;
  overflow:hidden;text-overflow:ellipsis;font-variant-numeric:tabular-nums}
.number{text-align:right}.zero{color:#55565e}.alarm{color:#f2495c;font-weight:600}
td.time,.line .time{color:#9a9ba6;font-variant-numeric:tabular-nums}
.link{color:#6e9fff;font-family:"DejaVu Sans Mono",monospace;font-size:11px}
.more{color:#6c6d76;border:0}
.word{font-weight:500}
.logs{font:11.5px/1.6 "DejaVu Sans Mono",monospace}
.line{display:flex;gap:12px;border-left:3px solid #5794f2;padding:1px 8px;margin-bottom:1px}
.line.warning{border-color:#ff9830;background:#ff983010}
.line .kind{color:#b877d9;width:120px;flex:none}
.line .body{flex:1;white-space:pre;overflow:hidden;text-overflow:ellipsis}
.line .call{color:#6c6d76}
`;
